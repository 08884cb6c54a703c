"""What becomes of each record of a batch, and what is remembered of a commit whose answer was lost."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from enum import StrEnum

from common.sink import Outcomes
from graphinator.projection import GraphRecord


class Verdict(StrEnum):
    """The store's view of a record; the names are those of `Outcomes`."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    STALE = "stale"


WORK = (Verdict.NEW, Verdict.CHANGED)
"""What is to be written."""


def verdicts_of(count: int, *, new: Sequence[int], changed: Sequence[int], stale: Sequence[int]) -> list[Verdict]:
    """One verdict per position, from the lists of positions that the server returns."""
    verdicts = [Verdict.UNCHANGED] * count
    for positions, verdict in ((new, Verdict.NEW), (changed, Verdict.CHANGED), (stale, Verdict.STALE)):
        for position in positions:
            verdicts[position] = verdict
    return verdicts


def outcomes_of(verdicts: Sequence[Verdict]) -> Outcomes:
    """Count verdicts."""
    return Outcomes(**Counter(verdict.value for verdict in verdicts))


class LostAnswers:
    """Verdicts of commits that may have happened: the server was asked, and has not said that all is well.

    The batch comes again, and what was then written looks unchanged; it is counted as what it was decided to be.
    """

    # More than the largest batch (32,767); the oldest go first: records that have not come again.
    LIMIT = 50_000

    def __init__(self) -> None:
        self._decided: OrderedDict[tuple[str, str], Verdict] = OrderedDict()

    def remember(self, records: Sequence[GraphRecord], verdicts: Sequence[Verdict]) -> None:
        """Note what was decided for the records that are to be written; of several decisions the first one counts."""
        for record, verdict in zip(records, verdicts, strict=True):
            if verdict in WORK:
                self._decided.setdefault((record.id, record.hash), verdict)
        while len(self._decided) > self.LIMIT:
            self._decided.popitem(last=False)

    def settle(self, records: Sequence[GraphRecord], verdicts: Sequence[Verdict]) -> list[Verdict]:
        """Replace, for records whose answer was lost, what they look like now by what they were; then forget them.

        A record without a hash is always written again and never looks unchanged.
        """
        if not self._decided:
            return list(verdicts)
        return [self._settle(record, verdict) for record, verdict in zip(records, verdicts, strict=True)]

    def _settle(self, record: GraphRecord, verdict: Verdict) -> Verdict:
        decided = self._decided.pop((record.id, record.hash), None)
        was_stored = verdict is Verdict.UNCHANGED or (verdict is Verdict.CHANGED and not record.hash)
        return decided if decided is not None and was_stored else verdict
