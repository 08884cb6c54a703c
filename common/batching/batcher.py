"""Cut the stream into batches.

A batch is the next run of the stream: any free writer takes the next consecutive records, so versions of one id keep
their order and acknowledgements stay contiguous. The run ends before a record whose id is still in flight, and before
a control message.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Generic

from common.batching.batch import Barrier, Batch, BatchLimits, Item, Trigger, resolve
from common.batching.batch_size import BatchSize
from common.batching.flush import FlushPolicy
from common.batching.redelivered import Alone
from common.batching.stream import Stream
from common.batching.waiters import Waiters
from common.sink import R


class Batcher(Generic[R]):
    """Between the reader and the writers. No I/O and no task of its own.

    `unsettled` tells how many deliveries of the current channel await their answer; barriers wait by it. `on_expired`
    is told how many deliveries were dropped because their channel had ended. `size` is the batch size in use (the
    limit, if none is given); `saturated_at` is as in `FlushPolicy`.
    """

    def __init__(
        self,
        limits: BatchLimits,
        *,
        unsettled: Callable[[], int],
        on_expired: Callable[[int], None],
        size: BatchSize | None = None,
        saturated_at: int | None = None,
    ) -> None:
        self._limits = limits
        self._size = size or BatchSize(limits.size)
        self._unsettled = unsettled
        self._on_expired = on_expired
        self._stream: Stream[R] = Stream()
        self._alone: Alone[R] = Alone(after=limits.alone_after)
        self._flush_policy = FlushPolicy(limits, self._size, saturated_at=saturated_at)
        self._waiters = Waiters(self.recheck)
        self._given_up = False

    def put(self, items: Iterable[Item[R] | Barrier]) -> None:
        """Append to the stream, in order of arrival."""
        self._drop_expired()  # nothing new waits behind what comes again
        for item in items:
            if isinstance(item, Barrier) or not self._alone.takes(item):
                self._stream.append(item)
        self._flush_policy.arrived(self._unsettled())
        self.recheck()

    def close(self) -> None:
        """Declare the stream ended: what is left goes out at once."""
        self._flush_policy.is_drained = True
        self._waiters.wake_all()

    def give_up(self) -> None:
        """If closed, wait no longer for what blocks the rest: it stays unsettled and comes again."""
        self._given_up = self._flush_policy.is_drained
        if self._given_up:
            self._waiters.wake_all()

    def abandon(self) -> int:
        """Leave everything that no writer has begun: it comes again. Returns: how many deliveries."""
        left = self._stream.clear() + len(self._alone)
        self._alone.clear()
        self._waiters.wake_all()
        return left

    async def wait(self) -> bool:
        """Wait until work is due. Returns: False once the stream has ended and nothing of it is left."""
        while True:
            self._drop_expired()
            now = asyncio.get_running_loop().time()
            due = self._due(now)
            if due is not None and due <= now:
                return True
            if self._finished():
                self._waiters.wake_all()
                return False
            await self._waiters.wait()

    def take_barrier(self) -> Barrier | None:
        """Take the control message that everything waits for, if there is one."""
        self._drop_expired()
        if self._stream and isinstance(head := self._stream.head, Barrier) and not self._blocked():
            self._stream.drop_head()
            self.recheck()
            return head
        return None

    def cut(self) -> Batch[R] | None:
        """Cut the next batch; None if another writer was faster. Call it with a slot in hand: it is fullest then."""
        batch = self._cut(asyncio.get_running_loop().time())
        self.recheck()
        return batch

    def take_ahead(self) -> Item[R] | None:
        """If the stream is blocked, take the first record that has nothing of its id before it. Give it to `done`."""
        self._drop_expired()
        return self._stream.take_ahead() if self._stream and self._blocked() else None

    def done(self, items: Iterable[Item[R]]) -> None:
        """These are in flight no longer: a later record of the same id may be written."""
        self._stream.done(items)
        self._flush_policy.settled(asyncio.get_running_loop().time())
        self.recheck()

    def discard_expired(self) -> None:
        """Drop what came from ended channels: it will come again."""
        self._on_expired(self._stream.drop_expired() + self._alone.drop_expired())

    def recheck(self) -> None:
        """See whether work is due for a waiting writer; set the clock for when it will be."""
        if not self._waiters:
            self._waiters.set_clock(None)
            return
        if self._finished():
            self._waiters.wake_all()
            return
        now = asyncio.get_running_loop().time()
        due = self._due(now)
        if due is not None and due <= now:
            self._waiters.wake_one()
            due = None
        self._waiters.set_clock(due)

    # When is something due?

    def _due(self, now: float) -> float | None:
        """When the next work is due; None while only an event can make it so."""
        alone = self._alone_due()
        if not self._stream or self._blocked():
            return alone
        due = (
            now
            if self._flush_policy.trigger(self._stream, now) is not None
            else self._flush_policy.due(self._stream, now)
        )
        return due if alone is None else min(due, alone)

    def _alone_due(self) -> float | None:
        item = self._next_alone()
        if item is None:
            return None
        if self._flush_policy.is_drained or not self._stream or self._blocked():
            return 0.0
        return item.delivery.received + self._limits.alone_patience

    def _is_overdue(self, item: Item[R], now: float) -> bool:
        return not self._flush_policy.is_drained and now >= item.delivery.received + self._limits.alone_patience

    def _next_alone(self) -> Item[R] | None:
        return self._alone.first_free(self._stream.in_flight, self._stream.ids) if self._alone else None

    def _blocked(self) -> bool:
        """Whether the head of the stream waits for something in flight."""
        head = self._stream.head
        if isinstance(head, Barrier):
            return self._unsettled() > len(self._stream) + self._alone.behind(head.delivery)
        return head.record.id in self._stream.in_flight

    # Cutting

    def _cut(self, now: float) -> Batch[R] | None:
        """Take the next batch off the stream, if it is due."""
        self._drop_expired()
        item = self._next_alone()
        if item is not None and self._is_overdue(item, now):  # or it would wait for as long as a backlog lasts
            return self._cut_alone(item)
        if self._stream and not self._blocked():
            is_record = not isinstance(self._stream.head, Barrier)
            if is_record and (trigger := self._flush_policy.trigger(self._stream, now)) is not None:
                return self._cut_run(trigger)
        elif item is not None:
            return self._cut_alone(item)
        return None

    def _cut_run(self, trigger: Trigger) -> Batch[R]:
        run, is_full_of_bytes = self._stream.take_run(size=self._size.records, max_bytes=self._limits.max_bytes)
        # What waits may be enough for a batch of the one sort, and what is taken be one of the other.
        if trigger in (Trigger.SIZE, Trigger.BYTES):
            trigger = Trigger.BYTES if is_full_of_bytes else Trigger.SIZE
        return resolve(run, trigger)

    def _cut_alone(self, item: Item[R]) -> Batch[R]:
        self._alone.remove(item)
        self._stream.begin([item])
        return Batch([item], Trigger.IDLE)

    def _drop_expired(self) -> None:
        if self._alone or (self._stream and self._stream.head.delivery.expired):
            self.discard_expired()

    def _finished(self) -> bool:
        return self._flush_policy.is_drained and (self._given_up or not (self._stream or self._alone))
