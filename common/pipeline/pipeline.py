"""One kind's way from the broker to its store: a reader, a batcher, writers, and those who watch over them."""

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Generic

from common.batching.batch import BatchLimits
from common.batching.batch_size import LEAST, BatchSize
from common.batching.batcher import Batcher
from common.dead_letters import DeadLetter, DeadLetters
from common.delivery import Source
from common.envelope import Projection
from common.loads import UNKNOWN, of_dead_letter
from common.pipeline.absence import Absence
from common.pipeline.bookkeeper import Bookkeeper
from common.pipeline.hold_limit import HoldLimit
from common.pipeline.reader import Reader
from common.pipeline.settling import Settling
from common.pipeline.writers import Writers
from common.progress import Numbers
from common.quarantine.evidence import CREDIT, Credit
from common.quarantine.quarantine import Quarantine
from common.settings.programs import ConsumerSettings
from common.sink import R, Sink
from common.storing.breaker import Breaker
from common.storing.store_writer import StoreWriter
from common.telemetry.metrics import KindMetrics
from common.telemetry.tracing import Tracer

DRAIN_REFUSED = 2.0  # seconds that a drain waits for what was refused: a write under way, and confirms
DRAIN_LEDGER = 0.5  # seconds that the ledger has then at the least, whatever the broker does


class Pipeline(Generic[R]):
    """One kind of one service. `slots`: those that its writers share with other kinds, if they do."""

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        source: Source,
        project: Projection[R],
        sink: Sink[R],
        breaker: Breaker,
        dead_letters: DeadLetters,
        metrics: KindMetrics,
        slots: contextlib.AbstractAsyncContextManager[None] | None = None,
        least_batch: int = LEAST,
        credit: int = CREDIT,
        tracer: Tracer | None = None,
    ) -> None:
        limits = BatchLimits(
            settings.batch_size, settings.batch_max_bytes, settings.flush_interval, target=settings.batch_target
        )
        self._writer_count = settings.writers
        self._source, self._dead_letters, self._metrics = source, dead_letters, metrics
        size = BatchSize(limits.size, target=limits.target, least=least_batch)
        metrics.batch_size_limit(size.records)
        self._batcher: Batcher[R] = Batcher(
            limits,
            unsettled=lambda: source.unsettled,
            on_expired=metrics.expired,
            size=size,
            saturated_at=(settings.writers + 1) * limits.size,  # the least prefetch there may be
        )
        self._writer = writer = StoreWriter(sink, breaker, metrics, slots=slots or asyncio.Semaphore(settings.writers))
        self._progress = sink.ledger.progress
        settling = Settling(source=source, batcher=self._batcher, metrics=metrics, progress=self._progress)
        absence = Absence(source)
        self.bookkeeper: Bookkeeper[R] = Bookkeeper(
            ledger=sink.ledger,
            writer=writer,
            source=source,
            batcher=self._batcher,
            metrics=metrics,
            absence=absence,
        )
        self._quarantine: Quarantine[R] = Quarantine(
            limits,
            size=size,
            batcher=self._batcher,
            writer=writer,
            breaker=breaker,
            settle=settling.settle,
            dead_letters=dead_letters,
            metrics=metrics,
            credit=Credit(most=credit, is_limited=settings.dead_letter_flood == "hold"),
            backoff=settings.backoff,
        )
        self._writers: Writers[R] = Writers(
            limits,
            size=size,
            batcher=self._batcher,
            writer=writer,
            settling=settling,
            quarantine=self._quarantine,
            bookkeeper=self.bookkeeper,
            metrics=metrics,
            tracer=tracer,
        )
        self._reader: Reader[R] = Reader(
            source=source,
            project=project,
            batcher=self._batcher,
            quarantine=self._quarantine,
            metrics=metrics,
            drain_limit=settings.drain_limit,
            on_end=self._writers.give_up_on_loose_ends,
            on_late=writer.begin_no_more,
            message_max_bytes=settings.message_max_bytes,
        )
        self._hold_limit: HoldLimit[R] = HoldLimit(
            settings.hold_limit,
            source=source,
            breaker=breaker,
            batcher=self._batcher,
            writer=writer,
            metrics=metrics,
            quarantine=self._quarantine,
            absence=absence,
            backoff=settings.backoff,
        )

    async def run(self) -> None:
        """Carry records until the source is stopped and everything that had arrived is settled or released."""
        kind = self._metrics.kind
        await self.bookkeeper.begin()
        async with asyncio.TaskGroup() as around:
            around.create_task(self._source.run(), name=f"{kind} source")
            watching = (
                around.create_task(self._quarantine.run(), name=f"{kind} quarantine"),
                around.create_task(self._hold_limit.run(), name=f"{kind} hold limit"),
                around.create_task(self.bookkeeper.run(), name=f"{kind} bookkeeper"),
            )
            await self._flow()
            await self._drain_refused()
            for task in watching:
                task.cancel()
            await self._source.close()

    async def _flow(self) -> None:
        """Read and write, until the stream has ended and all of it is written, or has expired meanwhile."""
        kind = self._metrics.kind
        async with asyncio.TaskGroup() as flow:
            reader = flow.create_task(self._reader.run(), name=f"{kind} reader")
            writers = [
                flow.create_task(self._writers.run(), name=f"{kind} writer {number}")
                for number in range(self._writer_count)
            ]
            await reader
            # The last channel may be lost after the stop: what is being written then comes again, whatever the store
            # does with it, and a store that hangs would keep the process for nothing.
            settled = flow.create_task(self._source.until_settled(), name=f"{kind} last settled")
            settled.add_done_callback(lambda _: _cancel(writers))
            await asyncio.wait(writers)
            settled.cancel()

    async def ask_store(self, record: R) -> None:
        """Hold until the store answers a write of this record, which is made up, and rolled back.

        Raises: Released.
        """
        await self._writer.would_take(record, is_made_up=True)

    def confirmed(self, letter: DeadLetter) -> None:
        """Settle a delivery whose dead letter the broker has confirmed."""
        if letter.delivery.expired:
            self._metrics.expired(1)
        else:
            self._source.settle([letter.delivery])
            self._metrics.dead_lettered(letter.reason)
            self._note(letter)
        self._batcher.recheck()  # a barrier may have waited for just this one

    def _note(self, letter: DeadLetter) -> None:
        """Leave a dead letter to the ledger: the error's class and code, because its text may show the record."""
        load, what = letter.delivery.load or UNKNOWN, letter.refusal.what
        self._progress.add({load: Numbers(dead_lettered=1, last_error=f"{letter.reason} {what}".strip())})
        self._progress.count_error(load, of_dead_letter(letter.reason), what, at=datetime.now(UTC))

    async def _drain_refused(self) -> None:
        now = asyncio.get_running_loop().time
        end = now() + DRAIN_REFUSED
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await self._writer.finish()
                await self._dead_letters.drained()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(max(end, now() + DRAIN_LEDGER)):
                await self.bookkeeper.finish()


def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
