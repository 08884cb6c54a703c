"""The aio-pika source passes the Source contract, and does what only a real broker can ask of it."""

from collections.abc import AsyncIterator

import pytest

from common.kinds import Names, Service
from common.metrics import KindMetrics
from common.rabbitmq.source import AioPikaSource
from tests.amqp import Peer, new_names, peer_of, proxied, settings
from tests.contract.proxy import Proxy
from tests.contract.source import SourceContract, SourceHarness
from tests.servers import RabbitMQ

KIND, SERVICE = "artists", Service.TABLEINATOR


class AioPikaHarness(SourceHarness):
    """One queue; the sources' connections go through a proxy that can be cut."""

    def __init__(self, url: str, proxy: Proxy, peer: Peer, names: Names) -> None:
        self.url, self.proxy, self.peer, self.names = url, proxy, peer, names
        self.queue = names.queue(SERVICE, KIND)
        self.metrics = KindMetrics(SERVICE, KIND)

    def make(self, *, prefetch: int = 100, max_bytes: int = 64 * 2**20) -> AioPikaSource:
        return AioPikaSource(
            settings(self.url),
            self.names,
            SERVICE,
            KIND,
            prefetch=prefetch,
            max_bytes=max_bytes,
            consumer_timeout=1800.0,
            metrics=self.metrics,
        )

    async def publish(self, *bodies: bytes) -> None:
        await self.peer.publish(self.names.exchange(KIND), *bodies)

    async def ready(self) -> int:
        ready = await self.peer.ready(self.queue)
        assert ready is not None
        return ready

    async def lose_connection(self) -> None:
        self.proxy.cut()
        self.proxy.mend()

    async def delete_queue(self) -> bool:
        await self.peer.delete_queue(self.queue)
        return True


@pytest.fixture
async def harness(rabbitmq: RabbitMQ) -> AsyncIterator[AioPikaHarness]:
    async with proxied(rabbitmq.url) as (url, proxy), peer_of(rabbitmq.url) as peer:
        yield AioPikaHarness(url, proxy, peer, new_names())


class TestAioPikaSource(SourceContract):
    pass
