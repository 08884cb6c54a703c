"""One kind's way from the broker to its store: receive, decode, batch, write, settle.

The end of the stream is the drain signal: stopping the source makes `receive` return an empty burst, the batcher
flushes, the writers return, and `run` with them.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

import structlog

from common.adaptive import BatchSize
from common.batch import Barrier, Batch, BatchLimits, Item, Trigger, deliveries, resolve, runs_of, take_winner
from common.batching import Batcher
from common.dead_letters import DeadLetter, DeadLetters
from common.decoding import Projection, decode
from common.delivery import Delivery, Source
from common.errors import DecodeError, Reason, Refusal
from common.holding import HoldLimit
from common.isolation import Refused, Stored, Suspected, Verdict, isolate
from common.judgement import Judgement
from common.metrics import KindMetrics, Result
from common.outage import Outage, Released
from common.records import ExtractionComplete, FileComplete
from common.sink import Outcomes, R, Sink
from common.suspects import Suspects
from common.writing import Effort, StoreWriter

log = structlog.get_logger()

DRAIN_LETTERS = 2.0  # seconds that a drain waits for confirms; what is unconfirmed then comes again
DRAIN_BLOCKED = 2.0  # seconds that it waits for what blocks the rest of the stream, with all writers idle
DRAIN_BEGIN = 0.5  # of the drain limit: later no batch is begun, so that those begun are done before the deadline
PIECE = 200  # deliveries read at a time: 2,000 of the graph's take 40 ms, in which nothing else has a turn
LATENCY_SAMPLES = 10  # per batch: an observation per record would cost more than writing it


_NO_LOSERS: Mapping[str, list[Item[Any]]] = {}


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """Durations in seconds; `writers` is the number of batches at a time, at the most."""

    limits: BatchLimits
    writers: int
    hold_limit: float = 900.0
    drain_limit: float = 8.0
    allow_flood: bool = False


class Pipeline(Generic[R]):
    """One kind of one service. `slots`: those that its writers share with other kinds, where they do."""

    def __init__(
        self,
        settings: PipelineSettings,
        *,
        source: Source,
        project: Projection[R],
        sink: Sink[R],
        outage: Outage,
        dead_letters: DeadLetters,
        metrics: KindMetrics,
        slots: asyncio.Semaphore | None = None,
    ) -> None:
        self._writers, self._alone_after = settings.writers, settings.limits.alone_after
        self._max_bytes, self._drain_limit = settings.limits.max_bytes, settings.drain_limit
        self._source, self._project, self._dead_letters = source, project, dead_letters
        self._metrics = metrics
        self._delivering: list[Batch[R]] = []
        self._loose_ends = False
        self._said: set[tuple[Reason, str]] = set()
        self._writer: StoreWriter[R] = StoreWriter(
            sink, outage, metrics, slots=slots or asyncio.Semaphore(settings.writers)
        )
        self._size = BatchSize(settings.limits.size, target=settings.limits.target)
        self._batcher: Batcher[R] = Batcher(
            settings.limits,
            unsettled=lambda: source.unsettled,
            on_expired=metrics.expired,
            size=self._size,
            brim=(settings.writers + 1) * settings.limits.size,  # the least prefetch there may be
        )
        self._judgement: Judgement[R] = Judgement(
            writer=self._writer,
            batcher=self._batcher,
            dead_letters=dead_letters,
            metrics=metrics,
            store=self._store_again,
            settle=self._settle,
            allow_flood=settings.allow_flood,
        )
        self._suspects: Suspects[R] = Suspects(
            writer=self._writer,
            batcher=self._batcher,
            judgement=self._judgement,
            outage=outage,
            metrics=metrics,
            settle=self._settle,
            store=self._store_again,
        )
        self._hold_limit: HoldLimit[R] = HoldLimit(
            settings.hold_limit,
            source=source,
            outage=outage,
            batcher=self._batcher,
            writer=self._writer,
            metrics=metrics,
            oldest_record=self._oldest_record,
            is_flooded=lambda: self._judgement.is_flooded,
        )
        metrics.batch_size_limit(self._size.records)

    async def run(self) -> None:
        """Carry records until the source is stopped and everything that had arrived is settled or released."""
        kind = self._metrics.kind
        async with asyncio.TaskGroup() as around:
            around.create_task(self._source.run(), name=f"{kind} source")
            watching = (
                around.create_task(self._judgement.run(), name=f"{kind} judgement"),
                around.create_task(self._suspects.run(), name=f"{kind} suspects"),
                around.create_task(self._hold_limit.run(), name=f"{kind} hold limit"),
            )
            async with asyncio.TaskGroup() as flow:
                flow.create_task(self._read(), name=f"{kind} reader")
                for number in range(self._writers):
                    flow.create_task(self._deliver_batches(), name=f"{kind} writer {number}")
            await self._drain_letters()
            for task in watching:
                task.cancel()
            await self._source.close()

    def confirmed(self, letter: DeadLetter) -> None:
        """Settle a delivery whose dead letter the broker has confirmed."""
        if letter.delivery.expired:
            self._metrics.expired(1)
        else:
            self._source.settle([letter.delivery])
            self._metrics.dead_lettered(letter.reason)
        self._batcher.recheck()  # a barrier may have waited for just this one

    async def _drain_letters(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_LETTERS):
                await self._dead_letters.drained()

    # Reading

    async def _read(self) -> None:
        while burst := await self._source.receive():
            for first in range(0, len(burst), PIECE):
                self._batcher.put(self._decode(burst[first : first + PIECE]))
                await asyncio.sleep(0)
        self._batcher.close()
        self._give_up_on_loose_ends()
        loop = asyncio.get_running_loop()
        loop.call_later(DRAIN_BLOCKED, self._batcher.give_up)
        loop.call_later(DRAIN_BEGIN * self._drain_limit, self._begin_no_more)

    def _begin_no_more(self) -> None:
        if left := self._batcher.abandon():
            log.info("Draining slowly: the rest will be delivered again", data_type=self._metrics.kind, deliveries=left)

    def _give_up_on_loose_ends(self) -> None:
        """Once the stream has ended nothing waits for what will not be settled any more."""
        if self._loose_ends or self._judgement.is_open or self._suspects.is_open:
            self._batcher.give_up()

    def _decode(self, burst: Sequence[Delivery]) -> list[Item[R] | Barrier]:
        """Read a burst; what can't be read is set aside, and the line goes on."""
        project = self._project
        items: list[Item[R] | Barrier] = []
        unreadable: list[DeadLetter] = []
        for delivery in burst:
            try:
                read = decode(delivery, project)
            except DecodeError as error:
                unreadable.append(self._unreadable(delivery, error))
            else:
                items.append(
                    Barrier(delivery, read)
                    if isinstance(read, FileComplete | ExtractionComplete)
                    else Item(delivery, read)
                )
        if unreadable:
            self._judgement.unreadable(unreadable)
        return items

    def _unreadable(self, delivery: Delivery, error: DecodeError) -> DeadLetter:
        what = (error.reason, error.refusal.error_class)
        if what not in self._said:
            self._said.add(what)
            log.warning("Dead letters of a new sort", data_type=self._metrics.kind, reason=error.reason, error=what[1])
        return DeadLetter(delivery, self._metrics.kind, error.record_id, error.reason, error.refusal)

    # Writing

    async def _deliver_batches(self) -> None:
        while (work := await self._batcher.take()) is not None:
            if isinstance(work, Barrier):
                self._control(work)
            else:
                await self._deliver(work)

    async def _deliver(self, batch: Batch[R]) -> None:
        effort, size, limit = Effort(), batch.size, self._size.records
        self._warn_of(batch.items[0].delivery)
        self._metrics.batch(size=size, trigger=batch.trigger, limit=limit)
        self._delivering.append(batch)
        try:
            is_done = await self._store(batch, effort)
        finally:
            self._delivering.remove(batch)
        if size >= limit or batch.trigger is Trigger.BYTES:
            self._learn(size, effort)
        if not is_done:
            return
        self._metrics.batch_done(effort.seconds)
        log.info(
            "Batch processed",
            data_type=self._metrics.kind,
            batch_size=size,
            duration_ms=round(effort.seconds * 1000),
            records_per_sec=round(size / max(effort.seconds, 0.001)),
        )

    def _learn(self, records: int, effort: Effort) -> None:
        """See what a full batch says of the batch size: only its first attempt, with all of it, says anything."""
        before = self._size.is_reduced
        if effort.first is Result.TOO_LARGE:
            self._size.too_large(records)
        elif effort.first is Result.STORED and effort.transactions == 1:
            self._size.stored(records, seconds=effort.seconds)
        self._metrics.batch_size_limit(self._size.records)
        if self._size.is_reduced != before:
            log.info(
                "Batch size restored" if before else "Batch size reduced: the store is slow",
                data_type=self._metrics.kind,
                batch_size=self._size.records,
            )

    def _warn_of(self, delivery: Delivery) -> None:
        """Say it before the write: there may be no afterwards."""
        if delivery.delivery_count > self._alone_after:
            log.error(
                "Record written alone: given out again and again, it may be what ends this process",
                data_type=self._metrics.kind,
                deliveries=delivery.delivery_count,
            )

    async def _store(self, batch: Batch[R], effort: Effort) -> bool:
        """Store and settle what the store takes; hand the rest to judgement. Returns: False where a hold was ended."""
        left = set(batch.all)
        stored = Outcomes()
        refused: list[tuple[Item[R], Reason, Refusal]] = []
        try:
            async for verdict in self._verdicts(batch, effort):
                if isinstance(verdict, Stored):
                    stored += verdict.outcomes
                    left.difference_update(self._settle(verdict.items, verdict.outcomes, losers=batch.losers))
                elif isinstance(verdict, Suspected):
                    losers = batch.losers.pop(verdict.item.record.id, [])
                    left.difference_update(self._suspects.add(verdict.item, losers, verdict.refusal))
                else:
                    refused.append((verdict.item, verdict.reason, verdict.refusal))
                    left.discard(verdict.item)
        except Released:
            self._release(left)
        self._judgement.judge(stored, refused)
        self._batcher.done([item for item, _, _ in refused])
        self._give_up_on_loose_ends()
        return not left

    async def _verdicts(self, batch: Batch[R], effort: Effort) -> AsyncIterator[Verdict[Item[R]]]:
        """A verdict on each record; where a winner is refused, the next version of its id is written."""
        items = batch.items
        while items:
            next_best: list[Item[R]] = []
            async for verdict in isolate(partial(self._writer.write, effort=effort), items):
                yield verdict
                if isinstance(verdict, Refused) and (same := batch.losers.get(verdict.item.record.id)):
                    next_best.append(take_winner(same))
            items = next_best

    async def _store_again(self, items: Sequence[Item[R]]) -> None:
        for run in runs_of(items, size=self._size.records, max_bytes=self._max_bytes):
            if run[0].delivery.expired:
                self._release(run)
            else:
                await self._store(resolve(run, Trigger.SIZE), Effort())

    def _settle(
        self, items: Sequence[Item[R]], outcomes: Outcomes, *, losers: Mapping[str, list[Item[R]]] = _NO_LOSERS
    ) -> list[Item[R]]:
        """Settle what has been committed, and those that lost to it. Returns: all that left the flight."""
        beaten = [loser for item in items for loser in losers.get(item.record.id, ())] if losers else []
        done = [*items, *beaten]
        self._source.settle(deliveries(done))
        if items[0].delivery.expired:
            self._metrics.expired(len(done))
        else:
            self._metrics.settled(outcomes, superseded=len(beaten))
            self._observe_latency(items)
        self._batcher.done(done)
        return done

    def _release(self, left: Collection[Item[R]]) -> None:
        """A hold has ended without a write: the channel is gone, or the process drains."""
        expired = [item for item in left if item.delivery.expired]
        self._metrics.expired(len(expired))
        self._batcher.done(expired)
        # The others stay in flight: a later version that was stored and settled now would be undone when they return.
        self._loose_ends = self._loose_ends or len(expired) < len(left)

    def _observe_latency(self, items: Sequence[Item[R]]) -> None:
        now = time.time() * 1000
        for item in items[:: max(1, len(items) // LATENCY_SAMPLES)]:
            if item.delivery.published_ms is not None:
                self._metrics.latency(max(0.0, now - item.delivery.published_ms) / 1000)

    def _oldest_record(self) -> R | None:
        """A record to try the store with after everything has been handed back."""
        oldest = min(self._delivering, key=lambda batch: batch.oldest, default=None)
        return oldest.items[0].record if oldest is not None else self._judgement.held_record

    # Control messages

    def _control(self, barrier: Barrier) -> None:
        """Handle a statement about the stream. It orders this replica and proves nothing about others."""
        control = barrier.control
        if isinstance(control, FileComplete):
            log.info(
                "File complete", data_type=self._metrics.kind, file=control.file, published=control.total_processed
            )
        else:
            log.info("Extraction complete", data_type=self._metrics.kind, load=control.version)
        self._source.settle([barrier.delivery])
        self._metrics.control("file_complete" if isinstance(control, FileComplete) else "extraction_complete")
