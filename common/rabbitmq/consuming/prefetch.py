"""Decide how many deliveries to ask for: fewer after their bytes were too many, all again once the store takes them.

Pure. A store that was away is no reason to go on in batches of three for the hours that follow.
"""

FIRST_WAIT, LONGEST_WAIT = 10.0, 600.0
"""Seconds that it stays narrow at least. They double when it has to be narrowed again soon (large records, a slow
store): each change gives what is unsettled back to the broker."""

TURNS = 2
"""Times the narrow prefetch that have to be settled: then the store takes records, and not only those it began with."""


class Prefetch:
    """The prefetch of one source, from one epoch to the next."""

    def __init__(self, full: int, *, first_wait: float = FIRST_WAIT) -> None:
        self._full = full
        self._wait = self._first_wait = first_wait
        self._narrowed_at = float("-inf")
        self.size = full
        """What the next epoch begins with."""

    @property
    def is_narrow(self) -> bool:
        """Whether it is smaller than it was configured."""
        return self.size < self._full

    def narrow(self, size: int, now: float) -> None:
        """Ask for fewer: more bytes waited than may, for as long as the socket can stay unread."""
        is_soon = now - self._narrowed_at < 4 * self._wait
        self._wait = min(2 * self._wait, LONGEST_WAIT) if is_soon else self._first_wait
        self._narrowed_at, self.size = now, size

    @property
    def narrow_until(self) -> float:
        """The moment from which it may be widened."""
        return self._narrowed_at + self._wait

    def may_widen(self, settled: int, now: float) -> bool:
        """Whether a narrow epoch that has settled so many may give way to one with the whole prefetch."""
        return self.is_narrow and settled >= TURNS * self.size and now >= self.narrow_until

    def widen(self) -> None:
        """Ask for all again."""
        self.size = self._full
