"""Publishing many messages, against a real broker."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from common.backoff import DEFAULT, Backoff, Jitter, Strategy
from common.kinds import Names
from common.rabbitmq.publishing.publisher import STALLED, Outgoing, Publisher, PublishFailed
from extractor.settings import ExtractorSettings
from tests.servers.amqp import Peer, memory_alarm, new_names, peer_of, proxied, settings, until
from tests.servers.native import OwnRabbitMQ
from tests.servers.servers import RabbitMQ

HEADERS = {"load": "20260301", "timestamp_in_ms": 1_772_323_200_000}


@pytest.fixture
async def peer(rabbitmq: RabbitMQ) -> AsyncIterator[Peer]:
    async with peer_of(rabbitmq.url) as peer:
        yield peer


@pytest.fixture
async def queue(peer: Peer) -> AsyncIterator[Names]:
    """An exchange for artists with one quorum queue of the same name."""
    names = new_names()
    exchange = names.exchange("artists")
    await peer.declare_exchange(exchange)
    await peer.declare_queue(exchange, {"x-queue-type": "quorum"})
    await peer.bind(exchange, exchange)
    yield names
    await peer.delete_queue(exchange)
    await peer.delete_exchange(exchange)


def make(url: str, *, max_unconfirmed: int = 1000, patience: float = 20.0, backoff: Backoff = DEFAULT) -> Publisher:
    return Publisher(settings(url), max_unconfirmed=max_unconfirmed, name="test", patience=patience, backoff=backoff)


AT_ONCE = Backoff(Strategy.FIXED, Jitter.NONE, base=0.01, cap=0.01)
"""Lets the ten attempts follow each other."""


def outgoing(count: int, size: int = 100, first: int = 0) -> list[Outgoing]:
    return [
        Outgoing(f"{number:08d}".encode().ljust(size, b"."), f"artists:{number}", HEADERS)
        for number in range(first, first + count)
    ]


async def published(publisher: Publisher, exchange: str, messages: list[Outgoing]) -> None:
    await publisher.publish(exchange, messages)
    await publisher.flush()


async def late_queue(publisher: Publisher, peer: Peer, exchange: str) -> None:
    await until(lambda: any(message.attempts for message in publisher._refused))
    await peer.declare_queue(exchange)
    await peer.bind(exchange, exchange)


async def bodies(peer: Peer, queue: str) -> list[bytes]:
    return [message.body for message in await peer.get_all(queue)]


async def test_messages_arrive_in_order_with_the_wire_formats_properties(
    rabbitmq: RabbitMQ, peer: Peer, queue: Names
) -> None:
    exchange = queue.exchange("artists")
    sent = outgoing(300)

    async with make(rabbitmq.url) as publisher:
        await publisher.publish(exchange, sent)
        await publisher.flush()

    messages = await peer.get_all(exchange)
    assert [message.body for message in messages] == [message.body for message in sent]
    properties = messages[7].header.properties
    assert (properties.content_type, properties.content_encoding) == ("application/json", "UTF-8")
    assert (properties.delivery_mode, properties.message_id) == (2, "artists:7")
    assert properties.headers is not None and properties.headers.items() >= HEADERS.items()


@pytest.mark.parametrize("size", [0, 1, 131064, 131065, 300_000, 5_000_000])
async def test_a_body_of_any_number_of_frames_arrives_whole(
    rabbitmq: RabbitMQ, peer: Peer, queue: Names, size: int
) -> None:
    body = bytes(range(256)) * (size // 256 + 1)

    async with make(rabbitmq.url) as publisher:
        await publisher.publish(queue.exchange("artists"), [Outgoing(body[:size], "artists:1", {})])
        await publisher.flush()

    assert await bodies(peer, queue.exchange("artists")) == [body[:size]]


async def test_flush_returns_only_when_everything_is_confirmed(rabbitmq: RabbitMQ, queue: Names) -> None:
    """Fault 63."""
    async with make(rabbitmq.url) as publisher:
        await publisher.publish(queue.exchange("artists"), outgoing(5000, size=1000))

        await publisher.flush()

        assert (publisher.confirmed, publisher.unconfirmed) == (5000, 0)


async def test_no_more_than_the_limit_is_unconfirmed(rabbitmq: RabbitMQ, queue: Names) -> None:
    most = 0
    async with make(rabbitmq.url, max_unconfirmed=100) as publisher:
        for first in range(0, 3000, 50):
            await publisher.publish(queue.exchange("artists"), outgoing(50, first=first))
            most = max(most, publisher.unconfirmed)
        await publisher.flush()

    assert 0 < most < 100 + 50


async def test_several_tasks_publish_side_by_side(rabbitmq: RabbitMQ, peer: Peer, queue: Names) -> None:
    exchange = queue.exchange("artists")
    async with make(rabbitmq.url, max_unconfirmed=200) as publisher:
        async with asyncio.TaskGroup() as tasks:
            for first in (0, 1000, 2000, 3000):
                tasks.create_task(publisher.publish(exchange, outgoing(1000, first=first)))
        await publisher.flush()

    arrived = [int(body[:8]) for body in await bodies(peer, exchange)]
    assert sorted(arrived) == list(range(4000))
    for first in (0, 1000, 2000, 3000):
        own = [number for number in arrived if first <= number < first + 1000]
        assert own == sorted(own)


async def test_what_a_lost_connection_left_unconfirmed_is_published_again(
    rabbitmq: RabbitMQ, peer: Peer, queue: Names
) -> None:
    """Fault 63."""
    exchange = queue.exchange("artists")
    async with proxied(rabbitmq.url) as (url, proxy), make(url) as publisher:
        for first in range(0, 2000, 200):
            await publisher.publish(exchange, outgoing(200, first=first))
            if first in (400, 1000, 1400):
                proxy.cut()
                proxy.mend()
        await publisher.flush()

    assert sorted(set(await bodies(peer, exchange))) == [message.body for message in outgoing(2000)]


async def test_a_broker_that_is_away_is_said_to_be_once() -> None:
    attempts = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"amqp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with capture_logs() as lines:
        async with server, asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(make(url).__aenter__())
            await until(lambda: attempts > 3)
            waiting.cancel()

    assert [line["event"] for line in lines] == ["Waiting for the broker"]


async def test_a_broker_that_says_nothing_any_more_is_given_up(rabbitmq: RabbitMQ, queue: Names) -> None:
    """Fault 45."""
    async with proxied(rabbitmq.url) as (url, proxy), make(url, patience=1.0) as publisher:
        await publisher.publish(queue.exchange("artists"), outgoing(10))
        await publisher.flush()
        proxy.freeze()

        with pytest.raises(PublishFailed, match=r"not confirmed within 1 s"):
            await publisher.publish(queue.exchange("artists"), outgoing(10))
            await publisher.flush()


@pytest.mark.parametrize("size", [100, 200_000], ids=["small", "more than sockets hold"])
async def test_a_node_that_is_frozen_is_left_for_another_and_its_messages_are_published_again(
    rabbitmq: RabbitMQ, peer: Peer, queue: Names, size: int
) -> None:
    """Fault 88."""
    exchange, sent = queue.exchange("artists"), outgoing(50, size)
    async with proxied(rabbitmq.url) as (first, one), proxied(rabbitmq.url) as (second, other):
        both = f"{first.rpartition('/')[0]},127.0.0.1:{other.port}/{second.rpartition('/')[2]}"
        with capture_logs() as lines:
            async with Publisher(
                settings(both, heartbeat=600), max_unconfirmed=1000, name="test", stalled=3.0
            ) as publisher:
                await published(publisher, exchange, sent[:10])
                (one if one._clients else other).freeze()
                await published(publisher, exchange, sent[10:])

                assert (publisher.confirmed, publisher.unconfirmed) == (50, 0)

    assert {"Waiting for confirms", "Publishing again after a lost channel"} <= {line["event"] for line in lines}
    assert set(await bodies(peer, exchange)) == {message.body for message in sent}


def test_the_wait_for_confirms_is_longer_than_a_cluster_takes_to_miss_a_node() -> None:
    """Fault 88."""
    to_notice = 75.0

    assert to_notice < STALLED < ExtractorSettings().extractor_confirm_timeout


async def test_a_message_that_no_queue_takes_is_refused_not_dropped(rabbitmq: RabbitMQ, peer: Peer) -> None:
    """Fault 62."""
    exchange = new_names().exchange("artists")
    await peer.declare_exchange(exchange)

    async with make(rabbitmq.url, backoff=AT_ONCE) as publisher:
        with pytest.raises(PublishFailed, match="no queue is bound"):
            await publisher.publish(exchange, outgoing(1))
            await publisher.flush()


async def test_before_each_attempt_but_the_first_there_is_a_wait(rabbitmq: RabbitMQ, peer: Peer) -> None:
    """What comes back while others are being written is not written again with them."""
    exchange = new_names().exchange("artists")
    await peer.declare_exchange(exchange)

    async with make(rabbitmq.url) as publisher:
        waits = itertools.count()
        publisher._waits = (0.0 for _ in waits)
        with pytest.raises(PublishFailed, match="tried 10 times: no queue is bound"):
            await publisher.publish(exchange, outgoing(2000))
            await publisher.flush()

    assert next(waits) >= 9


async def test_a_message_that_was_returned_arrives_once_there_is_a_queue(rabbitmq: RabbitMQ, peer: Peer) -> None:
    exchange = new_names().exchange("artists")
    await peer.declare_exchange(exchange)

    async with make(rabbitmq.url) as publisher, asyncio.TaskGroup() as tasks:
        tasks.create_task(published(publisher, exchange, outgoing(200)))
        await late_queue(publisher, peer, exchange)

    assert sorted(await bodies(peer, exchange)) == [message.body for message in outgoing(200)]
    await peer.delete_queue(exchange)


async def test_of_messages_with_the_same_body_each_one_returned_counts(rabbitmq: RabbitMQ, peer: Peer) -> None:
    exchange = new_names().exchange("artists")
    await peer.declare_exchange(exchange)

    async with make(rabbitmq.url) as publisher, asyncio.TaskGroup() as tasks:
        tasks.create_task(published(publisher, exchange, [Outgoing(b"same", "artists:1", {})] * 20))
        await late_queue(publisher, peer, exchange)

    assert await bodies(peer, exchange) == [b"same"] * 20
    await peer.delete_queue(exchange)


async def test_an_exchange_that_is_not_there_is_named(rabbitmq: RabbitMQ) -> None:
    async with make(rabbitmq.url, backoff=AT_ONCE) as publisher:
        with pytest.raises(PublishFailed, match="no exchange 'nowhere'"):
            await publisher.publish("nowhere", outgoing(1))
            await publisher.flush()


async def test_a_full_queue_that_refuses_is_tried_again_until_it_takes(rabbitmq: RabbitMQ, peer: Peer) -> None:
    """Fault 63."""
    exchange = new_names().exchange("artists")
    await peer.declare_exchange(exchange)
    await peer.declare_queue(exchange, {"x-max-length": 5, "x-overflow": "reject-publish"})
    await peer.bind(exchange, exchange)

    async with make(rabbitmq.url, backoff=AT_ONCE) as publisher:
        with pytest.raises(PublishFailed, match="the broker refused it"):
            await publisher.publish(exchange, outgoing(50))
            await publisher.flush()

    assert await peer.ready(exchange) == 5
    await peer.delete_queue(exchange)


async def test_it_waits_for_a_broker_that_is_not_up_yet(own_rabbitmq: OwnRabbitMQ) -> None:
    await own_rabbitmq.stop()
    entered = asyncio.Event()

    async def enter() -> None:
        async with make(own_rabbitmq.url):
            entered.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(enter())
        await own_rabbitmq.start()
        async with asyncio.timeout(30.0):
            await entered.wait()


async def test_a_blocked_broker_is_waited_for_and_said_to_be_blocked(own_rabbitmq: OwnRabbitMQ) -> None:
    names = new_names()
    exchange = names.exchange("artists")
    async with peer_of(own_rabbitmq.url) as peer, make(own_rabbitmq.url, patience=1.0) as publisher:
        await peer.declare_exchange(exchange)
        await peer.declare_queue(exchange, {"x-queue-type": "quorum"})
        await peer.bind(exchange, exchange)
        await publisher.publish(exchange, outgoing(10))
        await publisher.flush()
        await memory_alarm(own_rabbitmq, on=True)

        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(published(publisher, exchange, outgoing(5000, size=2000)))
            await until(lambda: publisher.blocked)
            await asyncio.sleep(2.5)  # longer than the patience, which does not run while blocked
            assert not publishing.done()
            await memory_alarm(own_rabbitmq, on=False)

        assert (publisher.confirmed, publisher.blocked) == (5010, False)


async def test_closing_does_not_wait_for_a_blocked_broker(own_rabbitmq: OwnRabbitMQ) -> None:
    exchange = new_names().exchange("artists")
    async with peer_of(own_rabbitmq.url) as peer:
        await peer.declare_exchange(exchange)
        await peer.declare_queue(exchange, {"x-queue-type": "quorum"})
        await peer.bind(exchange, exchange)
    await memory_alarm(own_rabbitmq, on=True)
    try:
        async with asyncio.timeout(30.0), asyncio.TaskGroup() as tasks, make(own_rabbitmq.url) as publisher:
            publishing = tasks.create_task(published(publisher, exchange, outgoing(5000, size=2000)))
            await until(lambda: publisher.blocked)
            publishing.cancel()
    finally:
        await memory_alarm(own_rabbitmq, on=False)
