"""From a kind's batcher to its store: write a batch, settle what the store takes, put the rest into quarantine."""

from typing import Generic

import structlog

from common.batching.batch import Batch, BatchLimits, Item, Trigger, ranked
from common.batching.batch_size import BatchSize
from common.batching.batcher import Batcher
from common.delivery import Epoch
from common.pipeline.bookkeeper import Bookkeeper
from common.pipeline.settling import Settling
from common.quarantine.case import Case
from common.quarantine.quarantine import Quarantine
from common.sink import R, Result
from common.storing.breaker import Released
from common.storing.isolation import Refused, Stored
from common.storing.store_writer import StoreWriter, Turn
from common.storing.verdicts import verdicts
from common.telemetry.metrics import KindMetrics
from common.telemetry.tracing import Tracer

log = structlog.get_logger()


class Writers(Generic[R]):
    """The writers of one kind."""

    def __init__(
        self,
        limits: BatchLimits,
        *,
        size: BatchSize,
        batcher: Batcher[R],
        writer: StoreWriter[R],
        settling: Settling[R],
        quarantine: Quarantine[R],
        bookkeeper: Bookkeeper[R],
        metrics: KindMetrics,
        tracer: Tracer | None,
    ) -> None:
        self._bookkeeper = bookkeeper
        self._tracer = tracer
        self._limits, self._size, self._batcher, self._writer = limits, size, batcher, writer
        self._settling, self._quarantine, self._metrics = settling, quarantine, metrics
        self._warned_of: Epoch | None = None

    async def run(self) -> None:
        """Be one writer, until the stream has ended."""
        while await self._batcher.wait():
            if (barrier := self._batcher.take_barrier()) is not None:
                self._settling.tell(barrier)
                self._bookkeeper.announce(barrier)
            else:
                await self._take_turn()

    async def _take_turn(self) -> None:
        """Wait for a slot, then cut a batch: what has come in the meantime goes along."""
        turn = self._writer.turn()
        await turn.take_slot()
        try:
            if (batch := self._batcher.cut()) is not None:
                await self._deliver(batch, turn)
        finally:
            await turn.give_slot_back()

    def give_up_on_loose_ends(self) -> None:
        """Once the stream has ended nothing waits for what will not be settled any more."""
        if self._settling.has_loose_ends or self._quarantine.is_open:
            self._batcher.give_up()

    async def _deliver(self, batch: Batch[R], turn: Turn) -> None:
        room = self._size.records
        self._metrics.batch(size=batch.size, trigger=batch.trigger, limit=room)
        self._warn_of(batch.items[0])
        if self._tracer is not None:
            turn.trace = self._tracer.begin(self._metrics.kind, batch)
        is_done = await self._store(batch, turn)
        if batch.size == room or batch.trigger is Trigger.BYTES:
            self._learn(batch.size, turn)
        if is_done:
            self._report(batch.size, turn.seconds)

    def _warn_of(self, item: Item[R]) -> None:
        """Say it before the write, since there may be no afterwards: of each, since the last line names the culprit.

        They may be many: only the first of a channel is an error.
        """
        delivery = item.delivery
        if delivery.delivery_count <= self._limits.alone_after:
            return
        say = log.info if delivery.epoch is self._warned_of else log.error
        self._warned_of = delivery.epoch
        say(
            "Record written alone: given out again and again, it may be what ends this process",
            data_type=self._metrics.kind,
            id=item.record.id,
            deliveries=delivery.delivery_count,
        )

    def _report(self, size: int, seconds: float) -> None:
        self._metrics.batch_done(seconds)
        log.info(
            "Batch processed",
            data_type=self._metrics.kind,
            batch_size=size,
            duration_ms=round(seconds * 1000),
            records_per_sec=round(size / max(seconds, 0.001)),
        )

    def _learn(self, records: int, turn: Turn) -> None:
        """See what a full batch says of the batch size: its first attempt says something, with all of it."""
        was_reduced = self._size.is_reduced
        if turn.first is Result.TOO_LARGE:
            self._size.too_large(records)
        elif turn.first is Result.STORED and turn.transactions == 1 and not turn.has_held:
            self._size.stored(records, seconds=turn.seconds)
        self._metrics.batch_size_limit(self._size.records)
        if self._size.is_reduced != was_reduced:
            event = "Batch size restored" if was_reduced else "Batch size reduced: the store is slow"
            log.info(event, data_type=self._metrics.kind, batch_size=self._size.records)

    async def _store(self, batch: Batch[R], turn: Turn) -> bool:
        """Store and settle what the store takes; put the rest into quarantine. Returns: False if a hold was ended."""
        done: set[Item[R]] = set()
        has_written, cases = False, list[Case[R]]()
        try:
            async for verdict in verdicts(self._writer, batch, turn):
                if isinstance(verdict, Stored):
                    has_written = has_written or bool(verdict.outcomes.written)
                    settled = self._settling.settle(verdict.items, verdict.outcomes, losers=batch.losers)
                    done.update(settled)
                    self._quarantine.stored(verdict.outcomes)
                    if turn.trace is not None:
                        turn.trace.stored(verdict.outcomes, superseded=len(settled) - len(verdict.items))
                elif isinstance(verdict, Refused):
                    cases.append(Case(verdict.item, verdict))
                else:
                    # The versions that it has beaten wait with it: the store may be what failed.
                    losers = batch.losers.pop(verdict.item.record.id, [])
                    cases += [Case(verdict.item, verdict), *map(Case, ranked(losers))]
        except Released:
            left = {case.item for case in cases} | done
            self._settling.release([item for item in batch.all if item not in left])
        self._quarantine.take(cases, has_written=has_written)
        if turn.trace is not None:
            turn.trace.end(quarantined=len(cases))
        self.give_up_on_loose_ends()
        return len(done) + len(cases) == batch.size
