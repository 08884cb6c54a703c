"""Messages that can't be stored: by neither service, or by one of them only. Twenty for each."""

import base64
import json
import random
from dataclasses import dataclass
from typing import Any

from common.errors import Reason
from common.kinds import Service

_RANDOM = random.Random(5)


@dataclass(frozen=True, slots=True)
class Odd:
    """A message's body, and why each service that can't take it says so; the others store it under `record_id`."""

    what: str
    kind: str
    body: bytes
    reasons: dict[Service, Reason]
    record_id: str = ""


def odd_messages() -> list[Odd]:
    """All of them."""
    return [*_unreadable(), *_for_no_store(), *_not_for_postgres(), *_not_for_neo4j()]


def _unreadable() -> list[Odd]:
    """What can't be read as a record at all."""
    bodies: list[tuple[str, bytes, Reason]] = [
        ("not JSON", b"{not json", Reason.NOT_JSON),
        ("half a character", _data("x1", notes="\ud800"), Reason.NOT_JSON),
        ("not UTF-8", b'{"type":"data","id":"x2\xff"}', Reason.NOT_JSON),
        ("nothing", b"", Reason.NOT_JSON),
        ("a list", b"[1]", Reason.NOT_JSON),
        ("no id", b'{"type":"data","name":"nobody"}', Reason.NO_USABLE_ID),
        ("id null", _data(None), Reason.NO_USABLE_ID),
        ("id 0", _data(0), Reason.NO_USABLE_ID),
        ("id ''", _data(""), Reason.NO_USABLE_ID),
        ("id a list", _data(["1"]), Reason.NO_USABLE_ID),
        ("id an object", _data({"id": "1"}), Reason.NO_USABLE_ID),
        ("id 'unknown'", _data("unknown"), Reason.NO_USABLE_ID),
        ("an unknown type", b'{"type":"film","id":"x3"}', Reason.UNKNOWN_TYPE),
        ("no type", b'{"id":"x4"}', Reason.UNKNOWN_TYPE),
        ("a control message without its kind", b'{"type":"file_complete"}', Reason.INVALID_CONTROL),
    ]
    kinds = ("artists", "labels", "masters", "releases")
    return [
        Odd(what, kinds[number % len(kinds)], body, dict.fromkeys(Service, reason))
        for number, (what, body, reason) in enumerate(bodies)
    ]


def _for_no_store() -> list[Odd]:
    return [
        Odd(
            "an id too long for either index",
            "artists",
            _data(_noise(40_000), name="long"),
            dict.fromkeys(Service, Reason.REFUSED),
        )
    ]


def _not_for_postgres() -> list[Odd]:
    """JSON that jsonb or an index of PostgreSQL refuses; the graph does not read these fields, or can store them."""
    long_id = _noise(4_000)
    refused = {Service.TABLEINATOR: Reason.REFUSED}
    return [
        Odd("NUL in a text", "artists", _data("p1", name="a\x00b"), refused, "p1"),
        Odd("a number out of range", "labels", _data("p2")[:-1] + b',"size":1e200000}', refused, "p2"),
        Odd("a field that is not UTF-8", "masters", _data("p3")[:-1] + b',"notes":"\xff"}', refused, "p3"),
        Odd("an id too long for PostgreSQL's index", "releases", _data(long_id, title="long"), refused, long_id),
    ]


def _not_for_neo4j() -> list[Odd]:
    """JSON of another shape than the graph's model, or keys too long for an index of Neo4j."""
    projection = {Service.GRAPHINATOR: Reason.PROJECTION_FAILED}
    refused = {Service.GRAPHINATOR: Reason.REFUSED}
    return [
        Odd("a title that is an object", "masters", _data("n1", title={"en": "a"}), projection, "n1"),
        Odd("credits that are no references", "releases", _data("n2", artists={"x": "1"}), projection, "n2"),
        Odd("a style too long for an index", "masters", _data("n3", styles=[_noise(40_000)]), refused, "n3"),
        Odd(
            "a reference too long for an index", "artists", _data("n4", groups=[{"id": _noise(40_000)}]), refused, "n4"
        ),
    ]


def _data(record_id: Any, **fields: Any) -> bytes:
    return json.dumps({"type": "data", "id": record_id, "sha256": "ab" * 32, **fields}).encode()


def _noise(length: int) -> str:
    """Text that no compression makes short enough for an index."""
    return base64.b64encode(_RANDOM.randbytes(length))[:length].decode()
