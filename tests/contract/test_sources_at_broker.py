"""What a broker does to a connection on purpose, and how a source takes it by either reader; and what they send it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pamqp.frame
import pytest
from pamqp.commands import Basic
from structlog.testing import capture_logs

from common.delivery import Delivery, Properties
from common.errors import BrokerUnavailable
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.channel import Channel, open_channel
from common.rabbitmq.connection import Connection, broker_errors, connected
from common.rabbitmq.consuming.fast.connection import FastConnection
from common.rabbitmq.field_tables import DEPTH
from common.rabbitmq.frames import header_size
from common.settings.programs import BrokerSettings
from tests.contract.source import becomes_ready, bodies, messages, running, take, until
from tests.contract.test_rabbit_source import KIND, RabbitHarness, harness, publish_raw, reader
from tests.servers.amqp import nested, peer_of, settings
from tests.servers.brokers import Broker, set_environment
from tests.servers.servers import RabbitMQ

__all__ = ["harness", "reader"]


def cut(connection: Connection) -> None:
    """End a connection as a network does."""
    connection.cut()


def hang_up(connection: Connection) -> None:
    """Have one read of the socket bring some data and the end."""
    end = connection._transports.stream_end
    assert end is not None
    end.data_received(HEARTBEAT)
    end.eof_received()


HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


@pytest.fixture
def broker(each_rabbitmq: RabbitMQ) -> Broker:
    if not isinstance(each_rabbitmq, Broker):
        pytest.skip("a broker that the environment names is not to be reconfigured")
    return each_rabbitmq


async def test_a_burst_costs_one_acknowledgement_at_the_most(harness: RabbitHarness) -> None:
    async with running(harness.make(prefetch=500)) as source:
        recorded = harness.proxy.recorded_up = bytearray()
        await harness.publish(*messages(2000))
        bursts, received = 0, 0
        while received < 2000:
            burst = await take(source, 1)
            third, two_thirds = len(burst) // 3, 2 * len(burst) // 3
            for part in (burst[third:two_thirds], burst[:third], burst[two_thirds:]):  # three writers at a time
                source.settle(part)
            bursts, received = bursts + 1, received + len(burst)
        await becomes_ready(harness, 0)

    acks = acks_in(bytes(recorded))
    assert all(ack.multiple for ack in acks)
    assert len(acks) <= bursts
    tags = [ack.delivery_tag for ack in acks]
    assert tags == sorted(set(tags))
    assert tags[-1] == 2000


async def test_acknowledgements_cover_the_contiguous_prefix_and_nothing_beyond_it(harness: RabbitHarness) -> None:
    async with running(harness.make(prefetch=500)) as source:
        recorded = harness.proxy.recorded_up = bytearray()
        await harness.publish(*messages(100))
        deliveries = await take(source, 100)
        for first, last in ((20, 40), (0, 10), (40, 100), (10, 20)):
            source.settle(deliveries[first:last])
            await asyncio.sleep(0.05)  # so that each would go out

    assert [(ack.delivery_tag, ack.multiple) for ack in acks_in(bytes(recorded))] == [(10, True), (100, True)]


async def test_a_graceful_end_acknowledges_all_that_is_settled_behind_a_gap(harness: RabbitHarness) -> None:
    """Of many single acknowledgements a broker forgets some if their channel is closed right behind them."""
    left = 0
    for _ in range(5):
        async with running(harness.make(prefetch=500)) as source:
            await harness.publish(*messages(400 - left))
            deliveries = await take(source, 400)
            source.settle(deliveries[1:])
        left = 1
        await becomes_ready(harness, left)


async def test_what_is_settled_does_not_wait_long_behind_a_gap(harness: RabbitHarness) -> None:
    """Else a process that is killed would leave it to be stored, or dead-lettered, once more."""
    async with running(harness.make(prefetch=500)) as source:
        recorded = harness.proxy.recorded_up = bytearray()
        await harness.publish(*messages(20))
        deliveries = await take(source, 20)
        source.settle(deliveries[1:3])
        source.settle(deliveries[4:])
        source.settle(deliveries[:1])  # so that there is another gap by the time it is looked for
        await until(lambda: sum(not ack.multiple for ack in acks_in(bytes(recorded))) == 16)

    singles = [ack.delivery_tag for ack in acks_in(bytes(recorded)) if not ack.multiple]
    assert singles == list(range(5, 21))
    await becomes_ready(harness, 1)


def acks_in(sent: bytes) -> list[Basic.Ack]:
    """The acknowledgements among the frames of one connection."""
    acks = []
    while sent:
        used, _, frame = pamqp.frame.unmarshal(sent)
        sent = sent[used:]
        if isinstance(frame, Basic.Ack):
            acks.append(frame)
    return acks


@pytest.fixture(params=[0, 8192])
def frame_max(request: pytest.FixtureRequest, broker: Broker) -> Iterator[int]:
    """A broker that offers this limit to new connections."""
    set_environment(broker, frame_max=request.param)
    try:
        yield request.param
    finally:
        set_environment(broker, frame_max=131_072)


async def test_frames_are_as_large_as_was_agreed(harness: RabbitHarness, broker: Broker, frame_max: int) -> None:
    """Without a limit of the broker's a body of any size could come as one frame, so ours is named."""
    large = bytes(range(251)) * 4000
    async with running(harness.make()) as source, peer_of(broker.url) as harness.peer:
        for body in (b"small", large, b"small"):
            await publish_raw(harness, Properties(), body)
        deliveries = await take(source, 3)
        agreed = harness.peer.connection.connection_tune.frame_max

    assert bodies(deliveries) == [b"small", large, b"small"]
    assert agreed == (frame_max or 131_072)


async def test_a_header_that_has_grown_at_the_broker_beyond_the_agreed_size_is_read(harness: RabbitHarness) -> None:
    """Fault 76: the broker adds its count of deliveries to a header that filled a frame, and can't split it."""
    as_large_as_may_be = padded(131_072)
    async with running(harness.make()) as source:
        await publish_raw(harness, as_large_as_may_be, b"grown")
        await harness.publish(b"next")
        first = await take(source, 2)
        await harness.lose_connection()

        again = await take(source, 2)

        assert bodies(first) == bodies(again) == [b"grown", b"next"]
        assert [each.delivery_count for each in again] == [1, 1]
        assert again[0].read_properties().headers["pad"] == as_large_as_may_be.headers["pad"]


@pytest.mark.parametrize("levels", [30, 300, 480])
async def test_a_header_nested_however_deeply_is_delivered_like_any_other(harness: RabbitHarness, levels: int) -> None:
    """Fault 82."""
    headers, odd = nested(levels)

    delivery = await deliver_odd(harness, headers | {"load": "20260301", "last": 1}, odd)

    read = delivery.read_properties().headers
    assert delivery.load == read["load"] == "20260301"
    assert set(read) == {"load", "deep", "last"}
    assert levels_of(read["deep"]) == min(levels, DEPTH)


async def test_a_header_whose_name_is_no_utf8_is_delivered_like_any_other(harness: RabbitHarness) -> None:
    """Fault 82."""
    headers = {"load": "20260301", "own": 1, "last": 1}

    delivery = await deliver_odd(harness, headers, {b"own": b"\xff\xfen"})

    assert delivery.load == "20260301"
    assert set(delivery.read_properties().headers) == {"load", "\ufffd\ufffdn", "last"}


async def deliver_odd(harness: RabbitHarness, headers: dict[str, Any], odd: Mapping[bytes, bytes]) -> Delivery:
    """Publish a message with some bytes of its header replaced by as many others; receive it and the next one."""
    async with running(harness.make()) as source:
        await harness.peer.publish_odd(harness.names.exchange(KIND), b"odd", headers, odd)
        await harness.publish(b"next")
        deliveries = await take(source, 2)
        source.settle(deliveries)

    assert bodies(deliveries) == [b"odd", b"next"]
    return deliveries[0]


def levels_of(table: Any) -> int:
    """Of which the last may be `Raw`."""
    return 1 + levels_of(table["t"]) if isinstance(table, dict) and table else 1


def padded(size: int) -> Properties:
    """Properties whose content header fills a frame of this size."""
    empty = Properties(headers={"load": "20260301", "pad": ""})
    return Properties(headers={**empty.headers, "pad": "x" * (size - header_size(empty))})


async def test_the_reason_for_a_closed_connection_is_told(harness: RabbitHarness, broker: Broker) -> None:
    vhost = urlsplit(broker.url).path.strip("/")
    async with running(harness.make()) as source:
        await harness.publish(*messages(3))
        await take(source, 3)
        with capture_logs() as lines:
            await asyncio.to_thread(broker.rabbitmqctl, "close_all_connections", "--vhost", vhost, "mind the gap")
            await until(lambda: any(line["event"] == "Consumer lost" for line in lines))

        assert bodies(await take(source, 3)) == messages(3)

    assert "mind the gap" in str(lines)


class LosingAccess(BrokerAccess):
    """Loses its first connections right behind their channel's opening."""

    def __init__(self, broker: BrokerSettings, end: Callable[[Connection], None]) -> None:
        super().__init__(broker)
        self._end, self.lost = end, 0

    async def open_channel(self, connection: Connection) -> Channel:
        channel = await super().open_channel(connection)
        if self.lost < 2:
            self.lost += 1
            self._end(connection)
        return channel


@pytest.mark.parametrize("end", [cut, hang_up])
async def test_a_connection_lost_right_behind_its_channels_opening_is_a_lost_connection(
    harness: RabbitHarness, end: Callable[[Connection], None]
) -> None:
    """Fault 90."""
    harness.access = losing = LosingAccess(settings(harness.url), end)
    async with running(harness.make()) as source:
        await harness.publish(*messages(3))

        assert bodies(await take(source, 3)) == messages(3)
    assert losing.lost == 2


@pytest.mark.parametrize("make", [Connection, FastConnection])
async def test_data_and_the_end_in_one_read_is_a_lost_connection(
    harness: RabbitHarness, make: type[Connection]
) -> None:
    """Fault 90: the client library tells whoever waits for an answer a bare `Exception`."""
    async with connected(settings(harness.url), name="test", make=make) as connection:
        harness.proxy.freeze()
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(refusal_of(connection))
            await until(lambda: connection.channels)
            hang_up(connection)
        harness.proxy.mend()

    assert "connection closed" in str(asking.result())


async def refusal_of(connection: Connection) -> BrokerUnavailable:
    """Ask the broker for something and hear that it is gone."""
    with pytest.raises(BrokerUnavailable) as refused, broker_errors(connection.address):
        await open_channel(connection)
    return refused.value


async def test_a_broker_that_blocks_publishers_goes_on_delivering(harness: RabbitHarness, broker: Broker) -> None:
    """Fault 46."""
    async with running(harness.make(prefetch=10)) as source:
        await harness.publish(*messages(50))
        await asyncio.to_thread(broker.rabbitmqctl, "set_vm_memory_high_watermark", "0.00001")
        received: list[bytes] = []
        try:
            while len(received) < 50:
                burst = await take(source, 1)
                received += bodies(burst)
                source.settle(burst)
            await becomes_ready(harness, 0)
        finally:
            await asyncio.to_thread(broker.rabbitmqctl, "set_vm_memory_high_watermark", "0.4")

    assert received == messages(50)
