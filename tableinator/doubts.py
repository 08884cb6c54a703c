"""Remember what was decided about records whose commit had no answer, so that each is counted once and rightly.

When the connection breaks during COMMIT, the batch may be stored or not, and it is written again. What the second
look-up then finds unchanged was stored by the first commit, and is counted as it was decided then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from common.metrics import Outcome
from tableinator.model import Row

# Many times what a kind can have in flight. Beyond it the oldest doubt is dropped: one record counted as unchanged
# that was new, never one lost.
MOST_DOUBTS = 20_000


@dataclass(frozen=True, slots=True)
class _Doubt:
    hash: str
    version: str | None
    outcome: Outcome


class Doubts:
    """The records of one kind whose commit is in doubt."""

    def __init__(self, *, most: int = MOST_DOUBTS) -> None:
        self._most = most
        self._doubts: dict[str, _Doubt] = {}

    def __len__(self) -> int:
        return len(self._doubts)

    def remember(self, rows: Sequence[Row], outcomes: Sequence[Outcome]) -> None:
        """Note what was decided about a batch whose commit failed; a first decision is never replaced by a second."""
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome in (Outcome.NEW, Outcome.CHANGED) and not self._is_about(row):
                self._doubts.pop(row.id, None)
                self._doubts[row.id] = _Doubt(row.hash, row.version, outcome)
        while len(self._doubts) > self._most:
            del self._doubts[next(iter(self._doubts))]

    def resolve(self, row: Row, found: Outcome) -> Outcome:
        """What to count a row as, given what the later look-up decided.

        A record without hash is never found unchanged: it is found changed, by itself.
        """
        stored_before = found is Outcome.UNCHANGED or (found is Outcome.CHANGED and not row.hash)
        if stored_before and self._is_about(row):
            return self._doubts[row.id].outcome
        return found

    def settle(self, rows: Sequence[Row]) -> None:
        """Forget rows whose commit has been answered."""
        if self._doubts:
            for row in rows:
                self._doubts.pop(row.id, None)

    def _is_about(self, row: Row) -> bool:
        doubt = self._doubts.get(row.id)
        return doubt is not None and (doubt.hash, doubt.version) == (row.hash, row.version)
