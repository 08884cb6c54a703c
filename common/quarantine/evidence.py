"""What a refusal proves, and when too many of them prove something else.

Pure bookkeeping of architecture.md section 5: the rule of evidence for errors of unknown meaning, and the flood guard.
"""

from dataclasses import dataclass

from common.errors import Refusal
from common.sink import Outcomes

FLOOD = 100
"""Refusals in a row, with nothing stored between, from which the store is doubted and not the records."""
FAILURES = 3
SPREAD = 30.0
"""Seconds over which the failures of a suspect must be spread."""
PAUSE = SPREAD / (FAILURES - 1)
"""Seconds from one failure of a suspect to the next."""
NEIGHBOUR = 1.0
"""Seconds to wait for other records of the kind to be written before the witness is rewritten."""


@dataclass(slots=True, eq=False)
class Suspicion:
    """A record that failed alone for a reason that may not be its own."""

    refusal: Refusal
    episode: int
    """The outage count when the failures began: one more outage and they count for nothing."""
    failures: int = 1

    def failed(self, refusal: Refusal, *, episode: int) -> None:
        """Note one more failure; the one before was followed by evidence."""
        self.refusal = refusal
        self.failures = self.failures + 1 if episode == self.episode else 1
        self.episode = episode

    def is_proved(self, *, episode: int) -> bool:
        """Whether it has failed often enough, if the last failure too was followed by evidence."""
        return self.failures >= FAILURES and episode == self.episode


class FloodGuard:
    """Count refusals in a row; beyond the limit they are held instead of dead-lettered."""

    def __init__(self, *, limit: int = FLOOD, allow: bool = False) -> None:
        self._limit = limit
        self._allow = allow
        self._unreadable = 0
        self._refused = 0

    @property
    def holds(self) -> bool:
        """Whether dead letters are held."""
        return not self._allow and self._count >= self._limit

    @property
    def room(self) -> int:
        """How many of what was held to judge anew: half of what is no flood yet, for others are refused meanwhile."""
        return max(1, (self._limit - 1 - self._count) // 2)

    @property
    def _count(self) -> int:
        return self._unreadable + self._refused

    def unreadable(self, count: int) -> None:
        """Deliveries were found to hold no record."""
        self._unreadable += count

    def refused(self, count: int) -> None:
        """The store refused records."""
        if not self._allow:
            self._refused += count

    def stored(self, outcomes: Outcomes) -> None:
        """Records were stored. An unchanged one shows that the stream is sound, but not that the store takes writes."""
        if outcomes.total:
            self._unreadable = 0
        if outcomes.written:
            self._refused = 0
