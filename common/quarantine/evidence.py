"""How many dead letters need no proof, and when a failure of unknown meaning is the record's own.

Pure bookkeeping; docs/failures.md has the whole rule.
"""

import sys

from common.outcomes import Outcomes

CREDIT = 99
"""Refused records that need no proof, from one written record to the next. One more, and the store is doubted."""
ROUNDS = 3
"""Counted rounds that prove a suspect to be bad: they are spread over 30 s."""
ROUND_PAUSE = 15.0
"""Seconds from one round to the next."""
NEIGHBOUR = 1.0
"""Seconds to wait for other records of the kind to be written before the witness is rewritten."""


class Credit:
    """How many dead letters may go out that nothing proves. Written records refill it."""

    def __init__(self, *, most: int = CREDIT, is_limited: bool = True) -> None:
        self._most = most if is_limited else sys.maxsize
        self._unreadable = self._refused = 0

    @property
    def left(self) -> int:
        """For how many more there is credit."""
        return self._most - self._unreadable - self._refused

    def spend(self, *, unreadable: bool = False) -> bool:
        """Spend one on a dead letter. Returns: False if there is none left."""
        if not self.left:
            return False
        self._unreadable += unreadable
        self._refused += not unreadable
        return True

    def stored(self, outcomes: Outcomes) -> None:
        """Records were stored. An unchanged one shows that the stream is sound, but not that the store takes writes."""
        if outcomes.total:
            self._unreadable = 0
        if outcomes.written:
            self._refused = 0
