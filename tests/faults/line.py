"""A whole line on a real broker: source, pipeline and dead-letter publisher; the store alone is the fake one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from common.kinds import Names, Service
from common.pipeline.decoding import MESSAGE_MAX_BYTES
from common.pipeline.pipeline import Pipeline
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.consuming.fast.reader import FastReader
from common.rabbitmq.consuming.source import RabbitSource, Waits
from common.rabbitmq.publishing.dead_letters import DeadLetterPublisher
from common.rabbitmq.reconnecting import STEADY
from common.storing.breaker import Breaker
from common.telemetry.metrics import KindMetrics
from tests.contract.proxy import Proxy
from tests.fakes import FakeRecord, FakeSink, consumer_settings, project
from tests.servers.amqp import Peer, new_names, peer_of, proxied, settings

SERVICE, KIND = Service.TABLEINATOR, "artists"
BATCH, WRITERS = 10, 2
PREFETCH = BATCH * (WRITERS + 2)
PATIENCE = 30.0
"""Seconds after which something that should happen has not."""


class Place:
    """One queue of this test's own; what begins here goes through a proxy that can be cut."""

    def __init__(self, url: str, proxy: Proxy, peer: Peer, names: Names, *, steady: float) -> None:
        """`steady`: seconds that a connection must have lasted for the next one to be tried at once."""
        self.url, self.proxy, self.peer, self.names, self.steady = url, proxy, peer, names, steady

    async def publish(self, *bodies: bytes) -> None:
        """Put messages into the queue, which the line has declared."""
        await self.peer.publish(self.names.exchange(KIND), *bodies)

    async def waiting(self) -> int:
        """How many messages are in the queue and not given out."""
        return await self.peer.ready(self.names.queue(SERVICE, KIND)) or 0

    async def until_waiting(self, count: int) -> None:
        """Wait until so many messages are in the queue: a broker takes a moment to put back what a channel had."""
        async with asyncio.timeout(PATIENCE):
            while await self.waiting() != count:
                await asyncio.sleep(0.02)

    async def dead(self) -> int:
        """How many messages are in the dead-letter queue."""
        return await self.peer.ready(self.names.dead_letter_queue(SERVICE, KIND)) or 0

    def lose_connections(self) -> None:
        """What a killed process looks like to the broker; the next connection succeeds."""
        self.proxy.cut()
        self.proxy.mend()

    def make_source(self, *, consumer_timeout: float = 1800.0) -> RabbitSource:
        """A source on the queue."""
        return RabbitSource(
            BrokerAccess(settings(self.url)),
            self.names,
            SERVICE,
            KIND,
            prefetch=PREFETCH,
            max_bytes=64 * 2**20,
            consumer_timeout=consumer_timeout,
            metrics=KindMetrics(SERVICE, KIND),
            reader=FastReader,
            waits=Waits(steady=self.steady),
        )


class Line:
    """A pipeline with all its parts."""

    def __init__(
        self, place: Place, *, hold_limit: float = 900.0, consumer_timeout: float = 1800.0, max_bytes: int
    ) -> None:
        self.source = place.make_source(consumer_timeout=consumer_timeout)
        self.sink = FakeSink()
        self.breaker = Breaker(service=SERVICE, store="fake")
        self.letters = DeadLetterPublisher(
            BrokerAccess(settings(place.url)),
            place.names,
            SERVICE,
            on_confirmed=lambda letter: self.pipeline.confirmed(letter),
            steady=place.steady,
        )
        self.pipeline: Pipeline[FakeRecord] = Pipeline(
            consumer_settings(
                batch_size=BATCH,
                batch_target=None,
                writers=WRITERS,
                hold_limit=hold_limit,
                message_max_bytes=max_bytes,
            ),
            source=self.source,
            project=project,
            sink=self.sink,
            breaker=self.breaker,
            dead_letters=self.letters,
            metrics=KindMetrics(SERVICE, KIND),
        )


@asynccontextmanager
async def place_at(url: str, *, steady: float = STEADY) -> AsyncIterator[Place]:
    """A place on this broker."""
    async with proxied(url) as (through, proxy), peer_of(url) as peer:
        yield Place(through, proxy, peer, new_names(), steady=steady)


@asynccontextmanager
async def running(
    place: Place,
    *,
    hold_limit: float = 900.0,
    consumer_timeout: float = 1800.0,
    max_bytes: int = MESSAGE_MAX_BYTES,
) -> AsyncIterator[Line]:
    """Run a line for as long as the block lasts, and drain it."""
    line = Line(place, hold_limit=hold_limit, consumer_timeout=consumer_timeout, max_bytes=max_bytes)
    async with asyncio.timeout(4 * PATIENCE), asyncio.TaskGroup() as around:
        beside = around.create_task(line.letters.run()), around.create_task(line.breaker.run())
        async with asyncio.TaskGroup() as flow:
            flow.create_task(line.pipeline.run())
            await until(lambda: line.source.connected)
            yield line
            line.source.stop()
            line.breaker.stop()
        for task in beside:
            task.cancel()


async def until(fact: Callable[[], object]) -> None:
    """Wait for something that happens on the other side."""
    async with asyncio.timeout(PATIENCE):
        while not fact():
            await asyncio.sleep(0.01)
