"""Records that one service or both must refuse, each with its reason; each differs from all others in its bytes.

Texts in them hold a mark, which no log may ever show.
"""

import base64
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import Reason
from common.kinds import KINDS, Service

_TITLED = ("masters", "releases")


@dataclass(frozen=True, slots=True)
class Planted:
    """A bad record. Those services that `reasons` does not name store it under `record_id`."""

    kind: str
    body: bytes
    record_id: str
    reasons: Mapping[Service, Reason]


class _Planter:
    """Makes one bad record after the other."""

    def __init__(self, rng: random.Random, mark: str) -> None:
        self._rng, self._mark = rng, mark
        self._made = 0

    def plant(self) -> Planted:
        """Make one of any sort."""
        sorts: list[tuple[Callable[[], Planted], float]] = [
            (self._not_json, 2),
            (self._no_id, 2),
            (self._unknown_type, 2),
            (self._refused_by_both, 1),
            (self._nul, 4),
            (self._out_of_range, 3),
            (self._not_projected, 4),
            (self._too_long_for_the_graph, 2),
        ]
        self._made += 1
        return self._rng.choices([make for make, _ in sorts], weights=[weight for _, weight in sorts])[0]()

    @property
    def _text(self) -> str:
        return f"{self._mark} {self._made}"

    @property
    def _id(self) -> str:
        return f"planted-{self._made}"

    def _anywhere(self) -> str:
        return self._rng.choice(KINDS)

    def _not_json(self) -> Planted:
        return Planted(self._anywhere(), f"{{not json {self._text}".encode(), "", _both(Reason.NOT_JSON))

    def _no_id(self) -> Planted:
        record_id = self._rng.choice([None, 0, "", ["1"], {"id": "1"}, "unknown"])
        return Planted(self._anywhere(), _data(record_id, name=self._text), "", _both(Reason.NO_USABLE_ID))

    def _unknown_type(self) -> Planted:
        body = json.dumps({"type": "film", "id": self._id, "name": self._text}).encode()
        return Planted(self._anywhere(), body, "", _both(Reason.UNKNOWN_TYPE))

    def _refused_by_both(self) -> Planted:
        return Planted("artists", _data(self._noise(40_000), name=self._text), "", _both(Reason.REFUSED))

    def _nul(self) -> Planted:
        kind = self._anywhere()
        field = "title" if kind in _TITLED else "name"
        body = _data(self._id, **{field: f"{self._text}\x00"})
        return Planted(kind, body, self._id, {Service.TABLEINATOR: Reason.REFUSED})

    def _out_of_range(self) -> Planted:
        body = _data(self._id, notes=self._text)[:-1] + b',"size":1e200000}'
        return Planted(self._anywhere(), body, self._id, {Service.TABLEINATOR: Reason.REFUSED})

    def _not_projected(self) -> Planted:
        reasons = {Service.GRAPHINATOR: Reason.PROJECTION_FAILED}
        if self._rng.random() < 0.5:
            return Planted("masters", _data(self._id, title={"en": self._text}), self._id, reasons)
        return Planted("releases", _data(self._id, artists={self._text: "1"}), self._id, reasons)

    def _too_long_for_the_graph(self) -> Planted:
        reasons = {Service.GRAPHINATOR: Reason.REFUSED}
        if self._rng.random() < 0.5:
            styles = [self._noise(40_000)]
            return Planted("masters", _data(self._id, title=self._text, styles=styles), self._id, reasons)
        groups = [{"id": self._noise(40_000)}]
        return Planted("artists", _data(self._id, name=self._text, groups=groups), self._id, reasons)

    def _noise(self, length: int) -> str:
        """Text that no compression makes short enough for an index."""
        return base64.b64encode(self._rng.randbytes(length))[:length].decode()


def plant(count: int, rng: random.Random, mark: str) -> list[Planted]:
    """Make so many bad records."""
    planter = _Planter(rng, mark)
    return [planter.plant() for _ in range(count)]


def _both(reason: Reason) -> dict[Service, Reason]:
    return dict.fromkeys(Service, reason)


def _data(record_id: Any, **fields: Any) -> bytes:
    return json.dumps({"type": "data", "id": record_id, "sha256": "ab" * 32, **fields}).encode()
