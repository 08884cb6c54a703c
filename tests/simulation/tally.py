"""What one life counts, in the place of the metrics: it ends with the life."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from common.errors import Reason
from common.outcomes import Outcomes

if TYPE_CHECKING:
    from tests.simulation.process import Life


class Tally:
    """The metrics of one life, which end with it. Those that nobody looks at are not kept."""

    def __init__(self, service: str, kind: str, life: "Life") -> None:
        self.service, self.kind, self._life = service, kind, life

    def settled(self, outcomes: Outcomes, *, superseded: int) -> None:
        self._count("settled", outcomes.total + superseded)

    def dead_lettered(self, _: Reason) -> None:
        self._count("dead_lettered", 1)

    def control(self, _: str) -> None:
        self._count("control", 1)

    def expired(self, count: int) -> None:
        self._count("expired", count)

    def batch(self, *, size: int, **_: object) -> None:
        self._life.checks.batch_taken(size)

    def batch_size_limit(self, records: int) -> None:
        self._life.checks.batch_size_limit(records)

    def _count(self, name: str, by: int) -> None:
        if not self._life.is_dead:
            self._life.tally[name] += by

    def __getattr__(self, _: str) -> Callable[..., None]:
        return _forget


def _forget(*_: object, **__: object) -> None:
    return
