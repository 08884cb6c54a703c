"""Choose how many records a batch may hold, so that writing one stays under a target.

Additive up, multiplicative down: a store that slows down gets smaller batches within a few of them, one that recovers
gets larger ones step by step. Pure; what is a fair measurement is decided where the batch is written.
"""

LEAST = 50
"""Below this a batch saves too little of what a transaction costs by itself."""
_STEP = 10  # of the maximum: from the least back to it in ten batches
_MARGIN = 0.9  # of the target, if a miss says how far it was: else the next batch would just miss it again
_MOST_AT_ONCE = 0.5


class BatchSize:
    """The size in use of one kind, between `least` (or the maximum, if that is smaller) and the maximum.

    `target` is what writing a batch may take, in seconds; None: the size stays at the maximum.
    """

    def __init__(self, most: int, *, target: float | None = None, least: int = LEAST) -> None:
        self._most = most
        self._least = min(least, most)
        self._step = max(1, most // _STEP)
        self._target = target
        self.records = most
        self.is_reduced = False
        """From when it falls below half of the maximum until it is the maximum again."""

    def stored(self, records: int, *, seconds: float) -> None:
        """Learn from a full batch of this size, stored at the first attempt in this time."""
        if self._target is None:
            return
        if seconds > self._target:
            self._shrink(records, by=max(_MOST_AT_ONCE, _MARGIN * self._target / seconds))
        elif records >= self.records:
            # Not into what would miss the target at the same pace: it would shrink again.
            more = min(self.records + self._step, self._most)
            if seconds * more <= self._target * records:
                self._use(more)

    def too_large(self, records: int) -> None:
        """Learn from a batch of this size, which the store could not take at once."""
        if self._target is not None:
            self._shrink(records, by=_MOST_AT_ONCE)

    def _shrink(self, records: int, *, by: float) -> None:
        # From the batch's own size: several batches that were under way together must not shrink it several times.
        self._use(min(self.records, max(self._least, int(records * by))))

    def _use(self, records: int) -> None:
        self.records = records
        if records == self._most:
            self.is_reduced = False
        elif records * 2 < self._most:
            self.is_reduced = True
