"""Cut the stream into batches.

A batch is the next run of the stream: any free writer takes the next consecutive records, so versions of one id keep
their order and acknowledgements stay contiguous. The run ends before a record whose id is still in flight, and before
a control message.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic

from common.adaptive import BatchSize
from common.alone import Alone
from common.batch import Barrier, Batch, BatchLimits, Item, Trigger, resolve
from common.sink import R
from common.turns import Turns


class Batcher(Generic[R]):
    """The stream between the reader and the writers. No I/O and no task of its own.

    `unsettled` tells how many deliveries of the current channel await their answer; barriers wait by it. `on_expired`
    is told how many deliveries were dropped because their channel had ended. `size` is the batch size in use; without
    it, it is the limit.
    """

    def __init__(
        self,
        limits: BatchLimits,
        *,
        unsettled: Callable[[], int],
        on_expired: Callable[[int], None],
        size: BatchSize | None = None,
    ) -> None:
        self._limits = limits
        self._size = size or BatchSize(limits.size)
        self._unsettled = unsettled
        self._on_expired = on_expired
        self._pending: deque[Item[R] | Barrier] = deque()
        self._pending_bytes = 0
        self._barriers = 0
        self._alone: Alone[R] = Alone(after=limits.alone_after)
        self._in_flight: dict[str, int] = {}
        self._turns = Turns(self.recheck)
        self._closed = False
        self._given_up = False

    def put(self, items: Iterable[Item[R] | Barrier]) -> None:
        """Append to the stream, in order of arrival."""
        if self._alone:
            self.discard_expired()  # nothing new waits behind what comes again
        for item in items:
            if isinstance(item, Barrier):
                self._barriers += 1
            elif self._alone.takes(item):
                continue
            self._pending.append(item)
            self._pending_bytes += len(item.delivery.body)
        self.recheck()

    def close(self) -> None:
        """Declare the stream ended: what is left goes out at once."""
        self._closed = True
        self._turns.wake_all()

    def give_up(self) -> None:
        """If closed, wait no longer for what blocks the rest: it stays unsettled and comes again."""
        self._given_up = self._closed
        if self._closed:
            self._turns.wake_all()

    def abandon(self) -> int:
        """Leave everything that no writer has begun: it comes again. Returns: how many deliveries."""
        left = len(self._pending) + len(self._alone)
        self._pending.clear()
        self._pending_bytes = self._barriers = 0
        self._alone.clear()
        self._turns.wake_all()
        return left

    async def take(self) -> Batch[R] | Barrier | None:
        """The next work for a free writer; None once the stream has ended and nothing of it is left."""
        loop = asyncio.get_running_loop()
        while True:
            work = self._cut(loop.time())
            if work is not None:
                self.recheck()
                return work
            if self._finished():
                self._turns.wake_all()
                return None
            await self._turns.wait()

    def take_ahead(self) -> Item[R] | None:
        """Where the stream is blocked, the first record that has nothing of its id before it. Give it to `done`."""
        self._drop_expired()
        if not self._pending or not self._blocked():
            return None
        passed: set[str] = set()
        for position, item in enumerate(self._pending):
            if isinstance(item, Barrier):
                continue
            if item.record.id not in self._in_flight and item.record.id not in passed:
                del self._pending[position]
                self._pending_bytes -= len(item.delivery.body)
                self._add_in_flight(item)
                return item
            passed.add(item.record.id)
        return None

    def done(self, items: Iterable[Item[R]]) -> None:
        """These are in flight no longer: a later record of the same id may be written."""
        in_flight = self._in_flight
        for item in items:
            record_id = item.record.id
            left = in_flight[record_id] - 1
            if left:
                in_flight[record_id] = left
            else:
                del in_flight[record_id]
        self.recheck()

    def keep(self, items: Iterable[Item[R]]) -> None:
        """These stay in flight although their batch is done; give them to `done` when they are judged."""
        for item in items:
            self._add_in_flight(item)

    def discard_expired(self) -> None:
        """Drop what came from ended channels: it will come again."""
        gone = sum(item.delivery.expired for item in self._pending)
        if gone:
            self._pending = deque(item for item in self._pending if not item.delivery.expired)
            self._pending_bytes = sum(len(item.delivery.body) for item in self._pending)
            self._barriers = sum(isinstance(item, Barrier) for item in self._pending)
        self._on_expired(gone + self._alone.drop_expired())

    def recheck(self) -> None:
        """See whether work is due for a waiting writer; set the clock where it will be."""
        if not self._turns:
            self._turns.set_clock(None)
            return
        if self._finished():
            self._turns.wake_all()
            return
        now = asyncio.get_running_loop().time()
        due = self._due(now)
        if due is not None and due <= now:
            self._turns.wake_one()
            due = None
        self._turns.set_clock(due)

    # When is something due?

    def _due(self, now: float) -> float | None:
        """When the next work is due; None while only an event can make it so."""
        alone = self._alone_due()
        if not self._pending or self._blocked():
            return alone
        due = now if self._trigger(now) is not None else self._clock(now)
        return due if alone is None else min(due, alone)

    def _alone_due(self) -> float | None:
        item = self._next_alone()
        if item is None:
            return None
        if self._closed or not self._pending or self._blocked():
            return 0.0
        return item.delivery.received + self._limits.alone_patience

    def _next_alone(self) -> Item[R] | None:
        if not self._alone:
            return None
        return self._alone.first_free(
            self._in_flight, {item.record.id for item in self._pending if isinstance(item, Item)}
        )

    def _blocked(self) -> bool:
        """Whether the head of the stream waits for something in flight."""
        head = self._pending[0]
        if isinstance(head, Barrier):
            return self._unsettled() > len(self._pending) + self._alone.behind(head.delivery)
        return head.record.id in self._in_flight

    def _trigger(self, now: float) -> Trigger | None:
        """What closes the batch at the head of the stream now, if anything does."""
        limits = self._limits
        if len(self._pending) >= self._size.records:
            return Trigger.SIZE
        if self._pending_bytes >= limits.max_bytes:
            return Trigger.BYTES
        if self._barriers:
            return Trigger.BARRIER
        if self._closed:
            return Trigger.DRAIN
        first = self._pending[0].delivery.received
        if now >= first + limits.flush_interval:
            return Trigger.INTERVAL
        if now >= self._idle_due(now):
            return Trigger.IDLE
        return None

    def _clock(self, now: float) -> float:
        first = self._pending[0].delivery.received
        return min(first + self._limits.flush_interval, self._idle_due(now))

    def _idle_due(self, now: float) -> float:
        """When a batch that is not full goes to a free writer.

        Asked only while a writer is free; a full prefetch then always holds a full batch (prefetch is at least
        (writers + 1) × the largest size), so a source at its prefetch never gets here.
        """
        limits = self._limits
        first = self._pending[0].delivery.received
        if now < first + limits.idle:
            return first + limits.idle
        count = len(self._pending)
        full_at = now + (self._size.records - count) * (now - first) / count
        patience = first + limits.idle + limits.worth_waiting
        return full_at if now < full_at <= patience else now

    # Cutting

    def _cut(self, now: float) -> Batch[R] | Barrier | None:
        """Take the next work off the stream, if it is due."""
        self._drop_expired()
        if self._pending and not self._blocked():
            head = self._pending[0]
            if isinstance(head, Barrier):
                self._drop_head()
                return head
            trigger = self._trigger(now)
            if trigger is not None:
                return resolve(self._next_run(), trigger)
        alone = self._alone_due()
        return self._cut_alone() if alone is not None and alone <= now else None

    def _drop_expired(self) -> None:
        if self._alone or (self._pending and self._pending[0].delivery.expired):
            self.discard_expired()

    def _cut_alone(self) -> Batch[R] | None:
        item = self._next_alone()
        if item is None:
            return None
        self._alone.remove(item)
        self._add_in_flight(item)
        return Batch([item], Trigger.IDLE)

    def _next_run(self) -> list[Item[R]]:
        """The longest run that fits a batch and touches nothing in flight; its head is known to be free."""
        run: list[Item[R]] = []
        size = 0
        while self._pending and len(run) < self._size.records:
            head = self._pending[0]
            if isinstance(head, Barrier) or head.record.id in self._in_flight:
                break
            size += len(head.delivery.body)
            if run and size > self._limits.max_bytes:
                break
            self._drop_head()
            run.append(head)
        for item in run:
            self._add_in_flight(item)
        return run

    def _drop_head(self) -> None:
        head = self._pending.popleft()
        self._pending_bytes -= len(head.delivery.body)
        if isinstance(head, Barrier):
            self._barriers -= 1

    def _add_in_flight(self, item: Item[R]) -> None:
        record_id = item.record.id
        self._in_flight[record_id] = self._in_flight.get(record_id, 0) + 1

    def _finished(self) -> bool:
        return self._closed and (self._given_up or not (self._pending or self._alone))
