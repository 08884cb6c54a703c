"""Records at a steady rate to a service that has nothing else to do: how long each is on its way."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from bench.arms import Run, Watch
from bench.consumers import Consumer
from bench.pacing import publish_at
from bench.queues import Queue
from bench.race import until
from bench.stage import Stage
from common.kinds import Service
from extractor.message import Message

SECONDS = 5


class Latency:
    """A service that has nothing else to do, and records one after the other."""

    service: Service
    store: str

    def __init__(self, stage: Stage, rate: int) -> None:
        self.name = f"latency_{self.store}_{rate}"
        self.stage, self._rate = stage, rate
        self.queue = Queue(stage.rabbitmq_url, self.service)
        self.consumer: Consumer | None = None

    @abstractmethod
    def settings(self) -> Mapping[str, str]:
        """What leads the service to its store."""

    @abstractmethod
    async def empty(self) -> None:
        """Have the store empty."""

    @abstractmethod
    async def stored(self) -> int:
        """How many records are committed."""

    @abstractmethod
    async def milliseconds(self, handed: Mapping[str, float]) -> dict[str, float]:
        """The percentiles of these records."""

    async def prepare(self) -> None:
        """Have the queue and the store empty and the service waiting."""
        await self.empty()
        await self.queue.make()
        environment = {**self.queue.environment, **self.settings(), "RABBITMQ_SOURCE": "fast"}
        consumer = self.consumer = Consumer(self.service, environment, self.stage.folder / f"{self.name}.log")
        await until(consumer.is_ready, lambda: consumer.log if consumer.has_ended else None)

    async def run(self, watch: Watch) -> Run:
        """Publish a second for nothing, then what counts."""
        total = min(len(self.stage.releases), self._rate * (SECONDS + 1))
        await self._publish(self.stage.releases[: self._rate])
        await self.begin()
        watch.start()
        counted = self.stage.releases[self._rate : total]
        handed = await self._publish(counted)
        watch.stop()
        spread = max(handed.values()) - min(handed.values())
        return Run(len(counted), {**await self.milliseconds(handed), "published_per_s": len(counted) / spread})

    async def begin(self) -> None:
        """What counts begins now."""

    async def check(self) -> None:
        """Nothing more: every record was waited for."""

    def processes(self) -> Mapping[str, int]:
        """The service."""
        return {"consumer": self.consumer.pid} if self.consumer else {}

    async def end(self) -> None:
        """Stop the service."""
        if self.consumer is not None:
            await self.consumer.end()
            self.consumer = None

    async def _publish(self, messages: Sequence[Message]) -> dict[str, float]:
        """Publish, and wait until all is stored."""
        before = await self.stored()
        handed = await publish_at(self._rate, self.queue, messages, load=self.stage.load.date)

        async def all_stored() -> bool | None:
            return True if await self.stored() >= before + len(messages) else None

        await until(all_stored, lambda: None)
        return handed
