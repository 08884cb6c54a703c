"""From a kind's batcher to its store: write a batch, settle what the store takes, hand the rest to judgement."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Generic

import structlog

from common.batching.batch import Batch, BatchLimits, Item, Trigger, resolve, runs_of, take_winner
from common.batching.batch_size import BatchSize
from common.batching.batcher import Batcher
from common.dead_letters import DeadLetters
from common.delivery import Delivery
from common.errors import Reason, Refusal
from common.pipeline.settling import Settling
from common.quarantine.quarantine import Judgement
from common.quarantine.suspects import Suspects
from common.sink import Outcomes, R
from common.storing.breaker import Breaker, Released
from common.storing.isolation import Refused, Stored, Suspected, Verdict, isolate
from common.storing.store_writer import StoreWriter, Turn
from common.telemetry.metrics import KindMetrics, Result

log = structlog.get_logger()


class Writers(Generic[R]):
    """The writers of one kind, and the judges of what they could not store."""

    def __init__(
        self,
        limits: BatchLimits,
        *,
        size: BatchSize,
        batcher: Batcher[R],
        writer: StoreWriter[R],
        settling: Settling[R],
        outage: Breaker,
        dead_letters: DeadLetters,
        metrics: KindMetrics,
        allow_flood: bool,
    ) -> None:
        self._limits, self._size, self._batcher, self._writer = limits, size, batcher, writer
        self._settling, self._metrics = settling, metrics
        self.judgement: Judgement[R] = Judgement(
            writer=writer,
            batcher=batcher,
            dead_letters=dead_letters,
            metrics=metrics,
            store=self._store_again,
            settle=settling.settle,
            suspected=lambda: self.suspects.ids,
            allow_flood=allow_flood,
        )
        self.suspects: Suspects[R] = Suspects(
            writer=writer,
            batcher=batcher,
            judgement=self.judgement,
            outage=outage,
            metrics=metrics,
            settle=settling.settle,
            store=self._store_again,
        )

    async def run(self) -> None:
        """Be one writer, until the stream has ended."""
        while await self._batcher.wait():
            if (barrier := self._batcher.take_barrier()) is not None:
                self._settling.handle(barrier)
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

    @property
    def oldest_record(self) -> R | None:
        """A record to try the store with after everything has been handed back."""
        return self._writer.oldest_record or self.judgement.held_record

    def give_up_on_loose_ends(self) -> None:
        """Once the stream has ended nothing waits for what will not be settled any more."""
        if self._settling.has_loose_ends or self.judgement.is_open or self.suspects.is_open:
            self._batcher.give_up()

    async def _deliver(self, batch: Batch[R], turn: Turn) -> None:
        room = self._size.records
        self._metrics.batch(size=batch.size, trigger=batch.trigger, limit=room)
        self._warn_of(batch.items[0].delivery)
        is_done = await self._store(batch, turn)
        if batch.size == room or batch.trigger is Trigger.BYTES:
            self._learn(batch.size, turn)
        if is_done:
            self._report(batch.size, turn.seconds)

    def _warn_of(self, delivery: Delivery) -> None:
        """Say it before the write: there may be no afterwards."""
        if delivery.delivery_count > self._limits.alone_after:
            log.error(
                "Record written alone: given out again and again, it may be what ends this process",
                data_type=self._metrics.kind,
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
        elif turn.first is Result.STORED and turn.transactions == 1:
            self._size.stored(records, seconds=turn.seconds)
        self._metrics.batch_size_limit(self._size.records)
        if self._size.is_reduced != was_reduced:
            event = "Batch size restored" if was_reduced else "Batch size reduced: the store is slow"
            log.info(event, data_type=self._metrics.kind, batch_size=self._size.records)

    async def _store(self, batch: Batch[R], turn: Turn) -> bool:
        """Store and settle what the store takes; hand the rest to judgement. Returns: False where a hold was ended."""
        done: set[Item[R]] = set()
        stored = Outcomes()
        refused: list[tuple[Item[R], Reason, Refusal]] = []
        try:
            async for verdict in self._verdicts(batch, turn):
                if isinstance(verdict, Stored):
                    stored += verdict.outcomes
                    done.update(self._settling.settle(verdict.items, verdict.outcomes, losers=batch.losers))
                elif isinstance(verdict, Suspected):
                    losers = batch.losers.pop(verdict.item.record.id, [])
                    done.update(self.suspects.add(verdict.item, losers, verdict.refusal))
                else:
                    refused.append((verdict.item, verdict.reason, verdict.refusal))
                    done.add(verdict.item)
        except Released:
            self._settling.release([item for item in batch.all if item not in done])
        self.judgement.judge(stored, refused)
        self._batcher.done([item for item, _, _ in refused])
        self.give_up_on_loose_ends()
        return len(done) == batch.size

    async def _verdicts(self, batch: Batch[R], turn: Turn) -> AsyncIterator[Verdict[Item[R]]]:
        """A verdict on each record; where a winner is refused, the next version of its id is written."""
        items = batch.items
        while items:
            next_best: list[Item[R]] = []
            async for verdict in isolate(partial(self._writer.write, turn=turn), items):
                yield verdict
                if isinstance(verdict, Refused) and (same := batch.losers.get(verdict.item.record.id)):
                    next_best.append(take_winner(same))
            items = next_best

    async def _store_again(self, items: Sequence[Item[R]]) -> None:
        for run in runs_of(items, size=self._size.records, max_bytes=self._limits.max_bytes):
            if run[0].delivery.expired:
                self._settling.release(run)
            else:
                await self._store(resolve(run, Trigger.SIZE), self._writer.turn())
