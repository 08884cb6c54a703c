"""RabbitMQ as a source passes the Source contract by either reader, and does what only a real broker can ask of it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from common.delivery import Delivery, Properties, Source
from common.errors import StartRefused
from common.kinds import Names, Service
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.consuming.fast.reader import FastReader
from common.rabbitmq.consuming.reading import AiormqReader, DeliveryReader
from common.rabbitmq.consuming.source import RabbitSource, Waits
from common.rabbitmq.publishing.confirms import Message, open_confirmed
from common.telemetry.metrics import REGISTRY, KindMetrics
from common.telemetry.trace_context import TraceContext, contexts_of
from tests.contract.proxy import Proxy
from tests.contract.source import (
    PATIENCE,
    SourceContract,
    SourceHarness,
    becomes_ready,
    bodies,
    messages,
    running,
    take,
    until,
)
from tests.servers.amqp import Peer, new_names, peer_of, proxied, settings
from tests.servers.brokers import Broker, impatient, version_of
from tests.servers.native import OwnRabbitMQ
from tests.servers.servers import RabbitMQ

KIND, SERVICE = "artists", Service.TABLEINATOR


class RabbitHarness(SourceHarness):
    """One queue; the sources' connections go through a proxy that can be cut."""

    def __init__(self, url: str, proxy: Proxy, peer: Peer, names: Names, reader: type[DeliveryReader]) -> None:
        self.url, self.proxy, self.peer, self.names, self.reader = url, proxy, peer, names, reader
        self.access = BrokerAccess(settings(url))
        self.waits = Waits()
        self.queue = names.queue(SERVICE, KIND)
        self.metrics = KindMetrics(SERVICE, KIND)

    def make(self, *, prefetch: int = 100, max_bytes: int = 64 * 2**20) -> RabbitSource:
        return RabbitSource(
            self.access,
            self.names,
            SERVICE,
            KIND,
            prefetch=prefetch,
            max_bytes=max_bytes,
            consumer_timeout=1800.0,
            metrics=self.metrics,
            reader=self.reader,
            waits=self.waits,
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


@pytest.fixture(params=[FastReader, AiormqReader], ids=["fast", "aio-pika"])
def reader(request: pytest.FixtureRequest) -> type[DeliveryReader]:
    """What the one reader does the other has to do too."""
    chosen: type[DeliveryReader] = request.param
    return chosen


@pytest.fixture
async def harness(each_rabbitmq: RabbitMQ, reader: type[DeliveryReader]) -> AsyncIterator[RabbitHarness]:
    async with _harness(each_rabbitmq, reader) as harness:
        yield harness


@pytest.fixture
async def slow_harness(rabbitmq: RabbitMQ, reader: type[DeliveryReader]) -> AsyncIterator[RabbitHarness]:
    """On one broker: for what takes seconds and is the same whatever the broker's version."""
    async with _harness(rabbitmq, reader) as harness:
        yield harness


@asynccontextmanager
async def _harness(rabbitmq: RabbitMQ, reader: type[DeliveryReader]) -> AsyncIterator[RabbitHarness]:
    async with proxied(rabbitmq.url) as (url, proxy), peer_of(rabbitmq.url) as peer:
        yield RabbitHarness(url, proxy, peer, new_names(), reader)


class TestRabbitSource(SourceContract):
    pass


# What a message carries.


async def deliver(harness: RabbitHarness, body: bytes = b"{}", **properties: Any) -> Delivery:
    """Publish one message with these properties and receive it."""
    async with running(harness.make()) as source:
        await harness.peer.publish(harness.names.exchange(KIND), body, **properties)
        (delivery,) = await take(source, 1)
        source.settle([delivery])
    return delivery


async def test_load_time_and_properties_are_read(harness: RabbitHarness) -> None:
    headers = {"load": "20260301", "timestamp_in_ms": 1_772_323_200_123, "own": ["x", 1]}

    delivery = await deliver(
        harness, headers=headers, content_type="application/json", message_id="artists:1", delivery_mode=2
    )

    assert (delivery.load, delivery.published_ms, delivery.delivery_count) == ("20260301", 1_772_323_200_123, 0)
    properties = delivery.read_properties()
    assert (properties.content_type, properties.message_id, properties.delivery_mode) == (
        "application/json",
        "artists:1",
        2,
    )
    assert properties.headers["own"] == ["x", 1]


async def test_the_trace_that_a_message_was_sent_in_arrives(harness: RabbitHarness) -> None:
    """Also behind a message that looks the same but for it: the fast reader knows such headers again."""
    async with running(harness.make()) as source:
        for number in (1, 2, 3):
            header = f"00-{number:032x}-{number:016x}-{'00' if number == 3 else '01'}"
            await harness.peer.publish(harness.names.exchange(KIND), b"{}", headers={"traceparent": header})
        deliveries = await take(source, 3)
        source.settle(deliveries)

    assert contexts_of(deliveries) == [TraceContext(1, 1), TraceContext(2, 2)]


@pytest.mark.parametrize(
    "headers", [{"load": 20260301, "timestamp_in_ms": "soon"}, {"load": None, "timestamp_in_ms": True}, {}]
)
async def test_headers_of_a_foreign_type_are_none(harness: RabbitHarness, headers: dict[str, Any]) -> None:
    delivery = await deliver(harness, headers=headers)

    assert (delivery.load, delivery.published_ms) == (None, None)


async def test_the_count_of_another_queues_deliveries_is_not_believed(harness: RabbitHarness) -> None:
    """Messages that were moved here bear it."""
    delivery = await deliver(harness, headers={"x-delivery-count": 19})

    assert delivery.delivery_count == 0


async def test_the_brokers_count_of_deliveries_is_read(harness: RabbitHarness) -> None:
    """Fault 28."""
    async with running(harness.make()) as source:
        await harness.publish(b"one")
        for count in range(3):
            (delivery,) = await take(source, 1)
            assert delivery.delivery_count == count
            await harness.lose_connection()


@pytest.mark.parametrize(
    "properties",
    [
        Properties(timestamp=2**62),
        Properties(headers={"at": b"\xff\xfe no utf-8"}),
        Properties(headers={str(n): "x" * 1000 for n in range(100)}),
        Properties(priority=255, delivery_mode=1, expiration="60000", type="t", app_id="a", correlation_id="c"),
    ],
)
async def test_a_message_with_odd_properties_is_delivered_like_any_other(
    harness: RabbitHarness, properties: Properties
) -> None:
    async with running(harness.make()) as source:
        await publish_raw(harness, properties, b"odd")
        await harness.publish(b"next")

        deliveries = await take(source, 2)

        assert bodies(deliveries) == [b"odd", b"next"]
        deliveries[0].read_properties()


async def publish_raw(harness: RabbitHarness, properties: Properties, body: bytes) -> None:
    """Publish what a client library would refuse to write."""
    outbox = deque([Message(harness.names.exchange(KIND), properties, body)])
    taken = asyncio.Event()
    channel = await open_confirmed(harness.peer.connection, on_verdict=lambda *_: taken.set(), on_end=lambda *_: None)
    await channel.write(outbox)
    async with asyncio.timeout(PATIENCE):
        await taken.wait()


@pytest.mark.parametrize("size", [0, 131_064, 131_065, 16 * 2**20])
async def test_a_body_of_any_size_is_delivered_whole(harness: RabbitHarness, size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)

    delivery = await deliver(harness, body[:size])

    assert delivery.body == body[:size]


# Bytes.


async def test_above_the_byte_limit_the_rest_stays_with_the_broker_until_there_is_room(
    slow_harness: RabbitHarness,
) -> None:
    async with running(slow_harness.make(prefetch=500, max_bytes=2**20)) as source:
        await slow_harness.publish(*(bytes([number]) * 100_000 for number in range(250)))
        deliveries: list[Delivery] = []
        most = 0
        while len(deliveries) < 250:
            burst = await take(source, 1)
            deliveries.extend(burst)
            most = max(most, source.unsettled)
            await asyncio.sleep(0.02)  # a sink takes its time, and more would arrive meanwhile
            source.settle(burst)

    assert [delivery.body[0] for delivery in deliveries] == list(range(250))
    assert {delivery.epoch.number for delivery in deliveries} == {1}
    assert most < 40  # not the prefetch, which would be 25 MB


@asynccontextmanager
async def overfull(harness: RabbitHarness) -> AsyncIterator[Source]:
    """A source whose queue holds ten times the bytes that may wait."""
    async with running(harness.make()):
        pass  # the queue is there, and what is published now all comes to the first epoch
    await harness.publish(*(bytes([number]) * 100_000 for number in range(100)))
    async with running(harness.make(prefetch=200, max_bytes=2**20)) as source:
        yield source


async def test_a_byte_limit_that_stays_reached_begins_again_with_fewer_deliveries(slow_harness: RabbitHarness) -> None:
    slow_harness.waits = Waits(unread=0.3)
    before = reconnects()
    async with overfull(slow_harness) as source:
        await until(lambda: reconnects() > before and source.unsettled >= 8)
        await asyncio.sleep(1.0)  # again for longer than the socket may stay unread

        held = source.unsettled
        deliveries = await take(source, held)

        assert (8 <= held <= 12, reconnects() - before) == (True, 1)
        assert [delivery.body[0] for delivery in deliveries] == list(range(held))
        assert {delivery.delivery_count for delivery in deliveries} == {1}


async def test_once_the_store_takes_records_again_the_whole_prefetch_is_asked_for(slow_harness: RabbitHarness) -> None:
    """Fault 79: it stayed narrow for the life of the connection, and the batches with it."""
    slow_harness.waits = Waits(unread=0.3, narrow=0.3)
    before = reconnects()
    async with overfull(slow_harness) as source:
        await until(lambda: reconnects() > before and source.unsettled >= 8)
        left, counts = 100, set()
        while left:
            burst = await take(source, 1)
            counts |= {delivery.delivery_count for delivery in burst}
            left -= sum(not delivery.expired for delivery in burst)
            source.settle(burst)
        await slow_harness.publish(*(b"small" for _ in range(200)))

        await until(lambda: source.unsettled == 200)

        assert max(counts) <= 2
        assert reconnects() - before == 1


async def test_a_single_delivery_above_the_byte_limit_is_delivered(slow_harness: RabbitHarness) -> None:
    """Fault 50."""
    slow_harness.waits = Waits(unread=0.3)
    async with running(slow_harness.make(prefetch=4, max_bytes=2**20)) as source:
        await slow_harness.publish(*(bytes([number]) * 3 * 2**20 for number in range(3)))
        for number in range(3):
            deliveries: list[Delivery] = []
            while not deliveries or deliveries[0].expired:
                deliveries = [each for each in await take(source, 1) if each.body[0] == number]
                await asyncio.sleep(0.5)  # longer than the socket may stay unread
            source.settle(deliveries)

    await becomes_ready(slow_harness, 0)


async def test_a_stop_does_not_wait_for_room_below_the_byte_limit(harness: RabbitHarness) -> None:
    """The store may be away, so that nothing is settled; and the broker's answer stands behind what is not read."""
    harness.waits = Waits(unread=10 * PATIENCE)
    async with running(harness.make(prefetch=200, max_bytes=2**20)) as source:
        await harness.publish(*(bytes([number]) * 100_000 for number in range(100)))
        await until(lambda: source.unsettled >= 11)

        source.stop()
        deliveries: list[Delivery] = []
        async with asyncio.timeout(PATIENCE / 3):
            while burst := await source.receive():
                deliveries += burst

    assert [delivery.body[0] for delivery in deliveries] == list(range(len(deliveries)))
    await becomes_ready(harness, 100)


async def test_a_stop_waits_for_a_broker_that_says_nothing_no_longer_than_it_may(slow_harness: RabbitHarness) -> None:
    """Fault 91: it waited longer than a drain may take, with nothing to drain."""
    slow_harness.waits = Waits(cancel=0.2)
    source = slow_harness.make()
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(source.run())
        await until(lambda: source.connected)

        slow_harness.proxy.freeze()
        source.stop()
        async with asyncio.timeout(PATIENCE / 3):
            assert await source.receive() == []
            await source.close()
            await life


async def test_the_byte_limit_counts_headers_too(slow_harness: RabbitHarness) -> None:
    """Fault 50: a prefetch of small bodies with large headers was taken whole."""
    async with running(slow_harness.make()):
        pass
    exchange, numbers = slow_harness.names.exchange(KIND), [bytes([number]) for number in range(100)]
    await slow_harness.peer.publish(exchange, *numbers, headers={"ballast": "x" * 100_000})

    async with running(slow_harness.make(prefetch=200, max_bytes=2**20)) as source:
        deliveries, most = list[Delivery](), 0
        while len(deliveries) < 100:
            burst = await take(source, 1)
            deliveries += burst
            most = max(most, source.unsettled)
            await asyncio.sleep(0.02)  # a sink takes its time, and more would arrive meanwhile
            source.settle(burst)

    assert [delivery.body for delivery in deliveries] == numbers
    assert most < 40  # not the prefetch, which would be 10 MB


# The broker's side of it.


async def test_the_prefetch_holds_on_the_brokers_side(harness: RabbitHarness, each_rabbitmq: RabbitMQ) -> None:
    """Fault 51."""
    async with running(harness.make(prefetch=37)):
        consumer = await consumer_of(harness.queue, each_rabbitmq)

    assert (consumer["prefetch_count"], consumer["ack_required"]) == (37, True)


async def consumer_of(queue: str, rabbitmq: RabbitMQ) -> Any:
    """How the broker describes the only consumer of a queue; it takes seconds until it does."""
    vhost = rabbitmq.url.rpartition("/")[2]
    async with asyncio.timeout(20.0):
        while True:
            consumers = await asyncio.to_thread(rabbitmq.api, "GET", f"consumers/{vhost}")
            for consumer in consumers:
                if consumer["queue"]["name"] == queue:
                    return consumer
            await asyncio.sleep(0.2)


async def test_two_sources_share_a_queue(harness: RabbitHarness) -> None:
    async with running(harness.make(prefetch=10)) as one, running(harness.make(prefetch=10)) as other:
        await harness.publish(*messages(20))

        received = bodies([*await take(one, 10), *await take(other, 10)])

    assert sorted(received) == messages(20)


# When the broker is not as it should be.


async def test_it_waits_for_a_broker_that_starts_late(own_rabbitmq: OwnRabbitMQ, reader: type[DeliveryReader]) -> None:
    await own_rabbitmq.stop()
    names = new_names()
    source = source_at(own_rabbitmq.url, names, reader)

    async with asyncio.timeout(60.0), asyncio.TaskGroup() as tasks:
        tasks.create_task(source.run())
        await asyncio.sleep(0.5)
        connected_without_broker = source.connected
        await own_rabbitmq.start()
        await until(lambda: source.connected)
        async with peer_of(own_rabbitmq.url) as peer:
            await peer.publish(names.exchange(KIND), *messages(3))
        deliveries = await take(source, 3)
        source.settle(deliveries)
        await source.close()

    assert not connected_without_broker
    assert bodies(deliveries) == messages(3)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_broker_that_restarts_costs_nothing_but_time(
    own_rabbitmq: OwnRabbitMQ, reader: type[DeliveryReader], end: str
) -> None:
    """Fault 48."""
    names = new_names()
    source = source_at(own_rabbitmq.url, names, reader)
    async with running(source):
        async with peer_of(own_rabbitmq.url) as peer:
            await peer.publish(names.exchange(KIND), *messages(20))
        source.settle((await take(source, 20))[:5])
        await asyncio.sleep(0.2)

        await (own_rabbitmq.stop() if end == "stop" else own_rabbitmq.kill())
        await until(lambda: not source.connected)
        await own_rabbitmq.start()
        again = await take(source, 15)

    assert bodies(again) == messages(15, first=5)


async def test_a_delivery_kept_beyond_the_consumer_timeout_comes_again(
    harness: RabbitHarness, impatient_rabbitmq: Broker
) -> None:
    """Fault 27c."""
    with capture_logs() as lines:
        async with running(
            source_at(impatient_rabbitmq.url, harness.names, harness.reader, consumer_timeout=1.0)
        ) as source:
            await harness.publish(*messages(3))
            kept = await take(source, 3)

            again = await take(source, 3)

            assert all(delivery.expired for delivery in kept)
            assert bodies(again) == messages(3)
            # Since 4.3 one that was taken back for its age does not count as delivered, only as acquired.
            assert {delivery.delivery_count for delivery in again} <= {0, 1}
            (line,) = [line for line in lines if line["event"] == "Consumer lost"]

    # Since 4.3 the broker cancels the consumer; before, it closes the channel and says why.
    assert ("cancelled" if version_of(impatient_rabbitmq) >= "4.3" else "timeout") in line["reason"]


@pytest.fixture
def impatient_rabbitmq(each_rabbitmq: RabbitMQ) -> Iterator[Broker]:
    with impatient(each_rabbitmq, after=1.0, tick=0.5) as broker:
        yield broker


async def test_a_silent_broker_is_noticed(own_rabbitmq: OwnRabbitMQ, reader: type[DeliveryReader]) -> None:
    """Fault 45."""
    names = new_names()
    source = source_at(own_rabbitmq.url, names, reader, heartbeat=1)
    async with running(source):
        async with peer_of(own_rabbitmq.url) as peer:
            await peer.publish(names.exchange(KIND), *messages(3))
        await take(source, 3)

        own_rabbitmq.freeze()
        await until(lambda: not source.connected)  # heartbeats of 1 s: given up after 6
        own_rabbitmq.thaw()

        assert bodies(await take(source, 3)) == messages(3)


async def test_a_stop_does_not_wait_for_a_broker_that_is_not_there(harness: RabbitHarness) -> None:
    harness.proxy.freeze()
    source = harness.make()

    async with asyncio.timeout(2.0), asyncio.TaskGroup() as tasks:  # less than connecting may take
        tasks.create_task(source.run())
        await asyncio.sleep(0.1)
        source.stop()
        assert await source.receive() == []
        await source.close()


async def test_closing_does_not_wait_for_a_silent_broker(slow_harness: RabbitHarness) -> None:
    """Fault 45."""
    loop = asyncio.get_running_loop()
    async with running(slow_harness.make()) as source:
        await slow_harness.publish(*messages(3))
        source.settle(await take(source, 3))
        slow_harness.proxy.freeze()
        began = loop.time()

    assert loop.time() - began < 7.0
    slow_harness.proxy.mend()


async def test_what_can_not_be_used_ends_the_start(harness: RabbitHarness) -> None:
    await harness.peer.declare_queue(harness.queue, durable=False)

    with pytest.raises(ExceptionGroup) as refused:
        async with asyncio.timeout(PATIENCE):
            await harness.make().run()

    assert refused.group_contains(StartRefused, match=harness.queue)


async def test_what_can_not_be_used_later_is_waited_out(harness: RabbitHarness) -> None:
    async with running(harness.make()) as source:
        await harness.peer.delete_queue(harness.queue)
        await harness.peer.declare_queue(harness.queue, durable=False)
        await until(lambda: not source.connected)
        await asyncio.sleep(0.5)
        assert not source.connected

        await harness.peer.delete_queue(harness.queue)
        await until(lambda: source.connected)


async def test_what_is_away_from_the_start_is_connected_once_and_waited_out_later(slow_harness: RabbitHarness) -> None:
    """Fault 98. As what had been consumed before: a broker that is away is tried again, and a refusal ends nothing."""
    harness, source = slow_harness, slow_harness.make()
    harness.proxy.cut()
    await source.hand_back()
    with capture_logs() as lines:

        async def said(event: str) -> None:
            await until(lambda: event in [line["event"] for line in lines])

        async with asyncio.timeout(4 * PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(source.run())
            await said("Broker unavailable")
            harness.proxy.mend()
            await said("Connected again")

            await harness.peer.delete_queue(harness.queue)
            await harness.peer.declare_queue(harness.queue, durable=False)
            await source.resume()
            await said("Broker can't be used")
            await harness.peer.delete_queue(harness.queue)
            await until(lambda: source.connected)
            await source.close()


async def test_fifty_flaps_leave_nothing_behind(slow_harness: RabbitHarness) -> None:
    """Fault 43."""
    slow_harness.waits = Waits(steady=0.0)  # else the waits between reconnects grow to 2 s
    process = psutil.Process()
    async with running(slow_harness.make()) as source:
        await slow_harness.publish(*messages(10))
        await take(source, 10)
        before, files, tasks = reconnects(), process.num_fds(), len(asyncio.all_tasks())
        for _ in range(50):
            await slow_harness.lose_connection()
            await take(source, 10)

        await until(lambda: process.num_fds() <= files and len(asyncio.all_tasks()) <= tasks)
        assert reconnects() - before == 50


async def test_an_epoch_that_was_handed_back_is_not_lost(harness: RabbitHarness) -> None:
    async with running(harness.make()) as source:
        before = reconnects()
        with capture_logs() as lines:
            await source.hand_back()
            await source.resume()  # before anybody could see that there was nothing to do
            await until(lambda: source.connected)

    assert [line["event"] for line in lines] == ["Consuming"]
    assert reconnects() == before


def reconnects() -> float:
    """What the metric says."""
    labels = {"service": SERVICE, "kind": KIND}
    return REGISTRY.get_sample_value("spindle_broker_reconnects_total", labels) or 0.0


def source_at(
    url: str, names: Names, reader: type[DeliveryReader], *, consumer_timeout: float = 1800.0, **more: Any
) -> RabbitSource:
    """A source on a broker of the test's own."""
    return RabbitSource(
        BrokerAccess(settings(url, **more)),
        names,
        SERVICE,
        KIND,
        prefetch=100,
        max_bytes=64 * 2**20,
        consumer_timeout=consumer_timeout,
        metrics=KindMetrics(SERVICE, KIND),
        reader=reader,
    )
