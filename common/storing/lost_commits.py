"""Count each record of a batch once and rightly, also if the answer to a commit was lost.

When the connection breaks during a commit, the batch may be stored or not, and it is written again. What then looks
unchanged was stored by the first commit, and is counted as it was decided then.

Nothing would be lost without this: the hash check sees to that. It stays because three things read the outcomes. The
counters: `new` and `changed` of a load are compared with its dump. Quarantine: a written record gives credit, an
unchanged one does not. And tableinator: what looks unchanged may be committed on this server and not yet on its
standby, so the commit that finds it must wait for the standby, too (`concern`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from common.outcomes import Outcome
from common.sink import Record

WORK: Final = (Outcome.NEW, Outcome.CHANGED)
"""What is to be written."""

# More than the largest batch (32,767), and many times what a kind has in flight. Beyond it the oldest doubt is dropped:
# one record counted as unchanged that was new, never one lost.
MOST_DOUBTS: Final = 50_000


class HashedRecord(Record, Protocol):
    """A record with its content's hash, empty if the producer gave none."""

    @property
    def hash(self) -> str:
        """The hash."""


@dataclass(frozen=True, slots=True)
class _Doubt:
    hash: str
    version: str | None
    outcome: Outcome


class LostCommits:
    """The records of one kind whose commit may have happened: the server was asked, and has not said all is well."""

    def __init__(self, *, most: int = MOST_DOUBTS) -> None:
        self._most = most
        self._doubts: dict[str, _Doubt] = {}

    def __len__(self) -> int:
        return len(self._doubts)

    def remember(self, records: Sequence[HashedRecord], outcomes: Sequence[Outcome]) -> None:
        """Note what was decided about a batch; a first decision is never replaced by a second."""
        for record, outcome in zip(records, outcomes, strict=True):
            if outcome in WORK and self._about(record) is None:
                self._doubts.pop(record.id, None)
                self._doubts[record.id] = _Doubt(record.hash, record.version, outcome)
        while len(self._doubts) > self._most:
            del self._doubts[next(iter(self._doubts))]

    def concern(self, records: Sequence[HashedRecord]) -> bool:
        """Whether the commit of any of these may have happened."""
        return bool(self._doubts) and any(self._about(record) is not None for record in records)

    def settle(self, records: Sequence[HashedRecord], found: Sequence[Outcome]) -> list[Outcome]:
        """What to count records as whose commit has been answered, given what was decided now; then forget them."""
        if not self._doubts:
            return list(found)
        return [self._settle(record, outcome) for record, outcome in zip(records, found, strict=True)]

    def _settle(self, record: HashedRecord, found: Outcome) -> Outcome:
        doubt = self._about(record)
        self._doubts.pop(record.id, None)
        # A record without hash is never found unchanged: it is found changed, by itself.
        was_stored = found is Outcome.UNCHANGED or (found is Outcome.CHANGED and not record.hash)
        return doubt.outcome if doubt is not None and was_stored else found

    def _about(self, record: HashedRecord) -> _Doubt | None:
        doubt = self._doubts.get(record.id)
        return doubt if doubt is not None and (doubt.hash, doubt.version) == (record.hash, record.version) else None
