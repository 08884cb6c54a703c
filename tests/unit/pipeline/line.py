"""A pipeline between fakes, on a virtual clock."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from common.backoff import DEFAULT, Backoff
from common.pipeline.pipeline import Pipeline
from common.storing.breaker import Breaker
from common.telemetry.metrics import REGISTRY, KindMetrics
from common.telemetry.tracing import Tracer
from tests.fakes import FakeDeadLetters, FakeRecord, FakeSink, FakeSource, body, consumer_settings, project

CONTROL = b'{"type":"file_complete","data_type":"artists"}'


class Line:
    """A pipeline between fakes."""

    count = 0

    def __init__(
        self,
        *,
        size: int = 50,
        writers: int = 2,
        hold_limit: float = 900.0,
        allow_flood: bool = False,
        target: float | None = None,
        slots: asyncio.Semaphore | None = None,
        backoff: Backoff = DEFAULT,
        tracer: Tracer | None = None,
    ) -> None:
        Line.count += 1
        self.kind = f"kind{Line.count}"
        self.source = FakeSource(prefetch=(writers + 2) * size)
        self.sink = FakeSink()
        self.letters = FakeDeadLetters()
        self.breaker = Breaker(service="test", store="fake")
        self.pipeline: Pipeline[FakeRecord] = Pipeline(
            consumer_settings(
                batch_size=size,
                batch_target=target,
                writers=writers,
                hold_limit=hold_limit,
                dead_letter_flood="allow" if allow_flood else "hold",
                backoff=backoff,
            ),
            source=self.source,
            project=project,
            sink=self.sink,
            breaker=self.breaker,
            dead_letters=self.letters,
            metrics=KindMetrics("test", self.kind),
            slots=slots,
            tracer=tracer,
        )
        self.letters.on_confirmed = self.pipeline.confirmed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self.run())
            yield
            self.stop()
            await asyncio.wait_for(asyncio.shield(running), 30)

    async def run(self) -> None:
        """The pipeline, and the breaker beside it."""
        async with asyncio.TaskGroup() as around:
            probing = around.create_task(self.breaker.run())
            await self.pipeline.run()
            probing.cancel()

    def stop(self) -> None:
        self.source.stop()
        self.breaker.stop()

    async def stopped_after(self, seconds: float) -> None:
        """Run for a while, and end within a drain's limit."""
        running = asyncio.create_task(self.run())
        await asyncio.sleep(seconds)
        self.stop()
        await asyncio.wait_for(running, 8)

    async def until(self, claim: Callable[[], bool], *, within: float = 100.0) -> None:
        """Let time pass until something holds."""
        pause = 0.01
        async with asyncio.timeout(within):
            while not claim():
                await asyncio.sleep(pause)
                pause = min(pause * 1.02, 0.5)  # a look a hundredth of a second for a quarter of an hour costs a minute

    @property
    def batch_size(self) -> float:
        """The batch size in use."""
        return self.metric("spindle_batch_size_limit_records")

    def settled(self) -> bool:
        return not self.source.unacknowledged and not self.source.ready

    def outcome(self, name: str) -> float:
        return self._read("spindle_records_total", outcome=name)

    def metric(self, name: str) -> float:
        return self._read(name)

    def _read(self, name: str, **labels: str) -> float:
        # Of this metric alone: every line has a kind of its own, and reading all metrics of all kinds takes longer from
        # one test to the next.
        wanted = {"service": "test", "kind": self.kind, **labels}
        samples = [sample for metric in REGISTRY.restricted_registry([name]).collect() for sample in metric.samples]
        return next((sample.value for sample in samples if (sample.name, sample.labels) == (name, wanted)), 0.0)


WITHOUT_PROOF = [str(number) for number in range(3000, 3099)]
"""As many bad records as are dead-lettered although nothing else was written."""


def bodies(*ids: object) -> list[bytes]:
    return [body(one) for one in ids]
