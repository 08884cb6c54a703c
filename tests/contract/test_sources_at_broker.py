"""What a broker does to a connection on purpose, and how both sources take it; and what they send it."""

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from common.delivery import Properties
from common.rabbitmq.fast.source import FastSource
from common.rabbitmq.source import AioPikaSource
from tests.amqp import peer_of
from tests.brokers import Broker
from tests.contract import test_aio_pika_source as other
from tests.contract.source import becomes_ready, bodies, messages, running, take, until
from tests.contract.test_aio_pika_source import AioPikaHarness, eval_at, harness, publish_raw
from tests.servers import RabbitMQ

__all__ = ["harness"]


@pytest.fixture(params=[FastSource, AioPikaSource], ids=["fast", "aio-pika"], autouse=True)
def _each_source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other, "AioPikaSource", request.param)


@pytest.fixture
def broker(each_rabbitmq: RabbitMQ) -> Broker:
    if not isinstance(each_rabbitmq, Broker):
        pytest.skip("a broker that the environment names is not to be reconfigured")
    return each_rabbitmq


@pytest.fixture(params=[0, 8192])
def frame_max(request: pytest.FixtureRequest, broker: Broker) -> Iterator[int]:
    """A broker that offers this limit to new connections."""
    eval_at(broker, frame_max=request.param)
    try:
        yield request.param
    finally:
        eval_at(broker, frame_max=131_072)


async def test_frames_are_as_large_as_was_agreed(harness: AioPikaHarness, broker: Broker, frame_max: int) -> None:
    """Without a limit of the broker's a body of any size could come as one frame, so ours is named."""
    large = bytes(range(251)) * 4000
    async with running(harness.make()) as source, peer_of(broker.url) as harness.peer:
        for body in (b"small", large, b"small"):
            await publish_raw(harness, Properties(), body)
        deliveries = await take(source, 3)
        agreed = harness.peer.connection.connection_tune.frame_max

    assert bodies(deliveries) == [b"small", large, b"small"]
    assert agreed == (frame_max or 131_072)


async def test_the_reason_for_a_closed_connection_is_told(harness: AioPikaHarness, broker: Broker) -> None:
    vhost = urlsplit(broker.url).path.strip("/")
    async with running(harness.make()) as source:
        await harness.publish(*messages(3))
        await take(source, 3)
        with capture_logs() as lines:
            await asyncio.to_thread(broker.rabbitmqctl, "close_all_connections", "--vhost", vhost, "mind the gap")
            await until(lambda: any(line["event"] == "Consumer lost" for line in lines))

        assert bodies(await take(source, 3)) == messages(3)

    assert "mind the gap" in str(lines)


async def test_a_broker_that_blocks_publishers_goes_on_delivering(harness: AioPikaHarness, broker: Broker) -> None:
    async with running(harness.make(prefetch=10)) as source:
        await harness.publish(*messages(50))
        await asyncio.to_thread(broker.rabbitmqctl, "set_vm_memory_high_watermark", "0.00001")
        received = []
        try:
            while len(received) < 50:
                burst = await take(source, 1)
                received += bodies(burst)
                source.settle(burst)
            await becomes_ready(harness, 0)
        finally:
            await asyncio.to_thread(broker.rabbitmqctl, "set_vm_memory_high_watermark", "0.4")

    assert received == messages(50)
