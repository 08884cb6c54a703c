"""Say what closes the batch at the head of the stream, and when: at once if it is full, soon if a writer is free.

Asked only while a writer is free. A flood goes out in full batches, a trickle at once: what tells them apart is the
rate so far, and whether the broker had more to send than the prefetch let it.
"""

from typing import Any

from common.batching.batch import BatchLimits, Trigger
from common.batching.batch_size import BatchSize
from common.batching.stream import Stream


class FlushPolicy:
    """The triggers of one kind's batches. Times are of the event loop, in seconds.

    `saturated_at`: with so many unsettled deliveries the broker may send no more, or hardly any;
    None: it never is.
    """

    def __init__(self, limits: BatchLimits, size: BatchSize, *, saturated_at: int | None) -> None:
        self._limits, self._size, self._saturated_at = limits, size, saturated_at
        self._is_saturated = False
        self._refilled_by = 0.0
        self.is_drained = False
        """Whether the stream has ended: nothing is waited for then."""

    def arrived(self, unsettled: int) -> None:
        """Deliveries have come; so many are unsettled now."""
        self._is_saturated = self._saturated_at is not None and unsettled >= self._saturated_at

    def settled(self, now: float) -> None:
        """There is room for more: a broker that had to wait for it sends on, though perhaps not at this moment."""
        if self._is_saturated:
            self._refilled_by = now + self._limits.refill

    def trigger(self, stream: Stream[Any], now: float) -> Trigger | None:
        """What closes the batch now, if anything does."""
        limits = self._limits
        if len(stream) >= self._size.records:
            return Trigger.SIZE
        if stream.bytes >= limits.max_bytes:
            return Trigger.BYTES
        if stream.barriers:
            return Trigger.BARRIER
        if self.is_drained:
            return Trigger.DRAIN
        if now >= stream.head.delivery.received + limits.flush_interval:
            return Trigger.INTERVAL
        if now >= self._idle_due(stream, now):
            return Trigger.IDLE
        return None

    def due(self, stream: Stream[Any], now: float) -> float:
        """When time alone will close it."""
        return min(stream.head.delivery.received + self._limits.flush_interval, self._idle_due(stream, now))

    def _idle_due(self, stream: Stream[Any], now: float) -> float:
        """When a batch that is not full goes to a free writer."""
        limits = self._limits
        first = stream.head.delivery.received
        if now < first + limits.idle:
            return max(first + limits.idle, self._refilled_by)
        full_at = now + (self._size.records - len(stream)) * (now - first) / len(stream)
        patience = first + limits.idle + limits.worth_waiting
        if not now < full_at <= patience:
            return max(now, self._refilled_by)
        # A full batch is seen without a timer. An earlier one would fire a thousand times if a few records are missing
        # and none arrive.
        return max(min(now + limits.idle, patience), full_at, self._refilled_by)
