"""Dead letters against a real broker: confirmed before they are settled, kept for as long as it takes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from common.dead_letters import DeadLetter
from common.delivery import Delivery, Epoch, Properties
from common.errors import Reason, Refusal
from common.kinds import Names, Service
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.publishing.dead_letters import DeadLetterPublisher
from common.rabbitmq.topology import declare, declare_dead_letters
from common.telemetry.metrics import REGISTRY
from tests.servers.amqp import Peer, memory_alarm, new_names, peer_of, proxied, settings, until
from tests.servers.native import OwnRabbitMQ
from tests.servers.servers import RabbitMQ

SERVICE, KIND = Service.GRAPHINATOR, "artists"
EPOCH = Epoch(1)
ORIGINAL = Properties(content_type="application/json", message_id="artists:1", headers={"load": "20260301", "n": 1.5})


@dataclass
class Actions:
    """What is put in and what comes out."""

    publisher: DeadLetterPublisher
    confirmed: list[DeadLetter] = field(default_factory=list)
    expired: list[DeadLetter] = field(default_factory=list)


@asynccontextmanager
async def publishing(url: str, names: Names) -> AsyncIterator[Actions]:
    """Run a publisher for as long as the block lasts."""
    desk: Actions

    def confirm(letter: DeadLetter) -> None:
        (desk.expired if letter.delivery.expired else desk.confirmed).append(letter)

    desk = Actions(DeadLetterPublisher(BrokerAccess(settings(url, heartbeat=2)), names, SERVICE, on_confirmed=confirm))
    async with asyncio.timeout(60.0), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(desk.publisher.run())
        yield desk
        running.cancel()


@pytest.fixture
async def peer(rabbitmq: RabbitMQ) -> AsyncIterator[Peer]:
    async with peer_of(rabbitmq.url) as peer:
        yield peer


@pytest.fixture
async def names(peer: Peer) -> Names:
    names = new_names()
    await declare(peer.connection, names, SERVICE, KIND)
    return names


def letters(count: int, *, epoch: Epoch = EPOCH, first: int = 0) -> list[DeadLetter]:
    return [
        DeadLetter(
            Delivery(number + 1, epoch, f'{{"id":"{number}"}}'.encode(), 0.0, "20260301", None, 0, lambda: ORIGINAL),
            KIND,
            str(number),
            Reason.REFUSED,
            Refusal("DataError", "22021", f"no {number}"),
        )
        for number in range(first, first + count)
    ]


def ids(letters: Sequence[DeadLetter]) -> list[str]:
    return [letter.record_id for letter in letters]


async def queued(peer: Peer, names: Names) -> list[bytes]:
    return [message.body for message in await peer.get_all(names.dead_letter_queue(SERVICE, KIND))]


def bodies(letters: Sequence[DeadLetter]) -> list[bytes]:
    return [letter.delivery.body for letter in letters]


async def test_a_letter_is_the_original_byte_for_byte_with_reasons(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    async with publishing(rabbitmq.url, names) as desk:
        desk.publisher.put(letters(1))
        await desk.publisher.drained()

    (message,) = await peer.get_all(names.dead_letter_queue(SERVICE, KIND))
    assert message.body == b'{"id":"0"}'
    properties = message.header.properties
    assert (properties.content_type, properties.message_id) == ("application/json", "artists:1")
    headers = properties.headers or {}
    assert (headers["load"], headers["n"]) == ("20260301", 1.5)
    assert (headers["x-spindle-reason"], headers["x-spindle-text"], headers["x-spindle-id"]) == ("refused", "no 0", "0")


async def test_each_letter_is_confirmed_once_and_in_order(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    """Fault 29."""
    sent = letters(1000)
    async with publishing(rabbitmq.url, names) as desk:
        desk.publisher.put(sent[:300])
        desk.publisher.put(sent[300:])
        await desk.publisher.drained()

    assert sorted(ids(desk.confirmed)) == sorted(ids(sent))
    assert await queued(peer, names) == bodies(sent)


async def test_a_delivery_that_has_expired_is_not_published(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    gone = Epoch(1)
    gone.ended = True
    async with publishing(rabbitmq.url, names) as desk:
        desk.publisher.put([*letters(3, epoch=gone), *letters(2, first=10)])
        await desk.publisher.drained()

    assert await queued(peer, names) == bodies(letters(2, first=10))
    assert ids(desk.confirmed) == ["10", "11"]
    assert ids(desk.expired) == ["0", "1", "2"]  # told of too: they are to be counted, and something may wait for them


async def test_what_waits_for_a_lost_broker_goes_out_when_it_is_back(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    async with proxied(rabbitmq.url) as (url, proxy), publishing(url, names) as desk:
        desk.publisher.put(letters(5))
        await desk.publisher.drained()
        proxy.cut()
        desk.publisher.put(letters(5, first=5))
        await asyncio.sleep(0.3)
        assert (ids(desk.confirmed), desk.publisher.unconfirmed) == (ids(letters(5)), 5)

        proxy.mend()
        await desk.publisher.drained()

    assert await queued(peer, names) == bodies(letters(10))


async def test_what_expires_while_the_broker_is_lost_is_dropped_and_nothing_waits_for_it(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    epoch = Epoch(1)
    async with proxied(rabbitmq.url) as (url, proxy), publishing(url, names) as desk:
        desk.publisher.put(letters(1))
        await desk.publisher.drained()
        proxy.cut()
        desk.publisher.put(letters(5, epoch=epoch, first=5))
        epoch.ended = True

        async with asyncio.timeout(30.0):
            await desk.publisher.drained()
        proxy.mend()

    assert ids(desk.confirmed) == ["0"]
    assert ids(desk.expired) == ids(letters(5, first=5))
    assert await queued(peer, names) == bodies(letters(1))


async def test_a_lost_connection_in_mid_flight_loses_no_letter(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    async with proxied(rabbitmq.url) as (url, proxy), publishing(url, names) as desk:
        for first in range(0, 2000, 100):
            desk.publisher.put(letters(100, first=first))
            await asyncio.sleep(0)
            if first % 500 == 0:
                proxy.cut()
                proxy.mend()
        await desk.publisher.drained()

    assert sorted(ids(desk.confirmed)) == sorted(ids(letters(2000)))
    assert set(await queued(peer, names)) == set(bodies(letters(2000)))


@pytest.mark.parametrize("deleted", ["queue", "exchange"])
async def test_a_place_that_somebody_deleted_is_made_again(
    rabbitmq: RabbitMQ, peer: Peer, names: Names, deleted: str
) -> None:
    async with publishing(rabbitmq.url, names) as desk:
        desk.publisher.put(letters(1))
        await desk.publisher.drained()
        if deleted == "queue":
            await peer.delete_queue(names.dead_letter_queue(SERVICE, KIND))
        else:
            await peer.delete_exchange(names.dead_letter_exchange(SERVICE, KIND))

        desk.publisher.put(letters(3, first=10))
        await desk.publisher.drained()

    assert set(bodies(letters(3, first=10))) <= set(await queued(peer, names))


async def test_a_queue_that_is_full_holds_the_record(rabbitmq: RabbitMQ, peer: Peer) -> None:
    """Fault 29."""
    names = new_names()
    queue = names.dead_letter_queue(SERVICE, KIND)
    await peer.declare_queue(queue, {"x-max-length": 3, "x-overflow": "reject-publish"})
    await declare_dead_letters(peer.connection, names, SERVICE, KIND)

    async with publishing(rabbitmq.url, names) as desk:
        desk.publisher.put(letters(10))
        await until(lambda: len(desk.confirmed) == 3)
        await asyncio.sleep(0.5)
        held = desk.publisher.unconfirmed
        while desk.publisher.unconfirmed:
            await peer.get_all(queue)
            await asyncio.sleep(0.05)

    assert held == 7
    assert sorted(ids(desk.confirmed)) == sorted(ids(letters(10)))


async def test_a_letter_that_reached_no_queue_is_not_taken_for_safe(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    await peer.delete_queue(names.dead_letter_queue(SERVICE, KIND))

    async with publishing(rabbitmq.url, names) as desk:
        desk.publisher.put(letters(20))
        await desk.publisher.drained()

    assert set(await queued(peer, names)) == set(bodies(letters(20)))


async def test_the_metrics_say_how_many_wait(rabbitmq: RabbitMQ, names: Names) -> None:
    async with proxied(rabbitmq.url) as (url, proxy), publishing(url, names) as desk:
        proxy.cut()
        desk.publisher.put(letters(7))

        waiting = REGISTRY.get_sample_value("spindle_dead_letters_unconfirmed", {"service": SERVICE})
        proxy.mend()
        await desk.publisher.drained()
        none = REGISTRY.get_sample_value("spindle_dead_letters_unconfirmed", {"service": SERVICE})

    assert (waiting, none) == (7, 0)


async def test_a_settling_that_fails_ends_the_process_not_the_channel(rabbitmq: RabbitMQ, names: Names) -> None:
    def fail(_: DeadLetter) -> None:
        raise ValueError("a bug")

    publisher = DeadLetterPublisher(BrokerAccess(settings(rabbitmq.url)), names, SERVICE, on_confirmed=fail)
    publisher.put(letters(1))

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        async with asyncio.timeout(30.0):
            await publisher.run()


async def test_a_blocked_broker_holds_the_letters_and_is_said_to(own_rabbitmq: OwnRabbitMQ) -> None:
    """Fault 29."""
    names = new_names()
    async with peer_of(own_rabbitmq.url) as peer:
        await declare(peer.connection, names, SERVICE, KIND)
    await memory_alarm(own_rabbitmq, on=True)
    with capture_logs() as lines:
        async with publishing(own_rabbitmq.url, names) as desk:
            desk.publisher.put(letters(10))
            await until(lambda: desk.publisher.blocked)
            desk.publisher.put(letters(1))
            blocked = REGISTRY.get_sample_value("spindle_publishing_blocked", {"service": SERVICE})
            await asyncio.sleep(1.0)
            confirmed_while_blocked = len(desk.confirmed)

            await memory_alarm(own_rabbitmq, on=False)
            await desk.publisher.drained()

    assert (blocked, confirmed_while_blocked, len(desk.confirmed)) == (1, 0, 11)
    said = [(line["event"], line.get("reason")) for line in lines if line["event"].startswith("Dead letters")]
    assert said == [
        ("Dead letters are waiting for the broker", "the broker blocks publishing (memory or disk alarm)"),
        ("Dead letters are taken again", None),
    ]


async def test_what_expires_while_the_broker_blocks_is_not_kept(own_rabbitmq: OwnRabbitMQ) -> None:
    """Fault 29. Each hand-back brings the same bodies again."""
    names = new_names()
    async with peer_of(own_rabbitmq.url) as peer:
        await declare(peer.connection, names, SERVICE, KIND)
    await memory_alarm(own_rabbitmq, on=True)
    try:
        async with publishing(own_rabbitmq.url, names) as desk:
            desk.publisher.put(letters(10))  # one portion may lie in the socket already
            await until(lambda: desk.publisher.blocked)
            for number in range(1, 6):
                epoch = Epoch(number)
                desk.publisher.put(letters(100, epoch=epoch, first=100 * number))
                epoch.ended = True
            desk.publisher.put(letters(1, first=1000))

            await until(lambda: len(desk.expired) == 500)
            assert desk.publisher.unconfirmed <= 11
    finally:
        await memory_alarm(own_rabbitmq, on=False)


async def test_it_can_be_cancelled_while_the_broker_blocks(own_rabbitmq: OwnRabbitMQ) -> None:
    """Fault 46."""
    names = new_names()
    async with peer_of(own_rabbitmq.url) as peer:
        await declare(peer.connection, names, SERVICE, KIND)
    await memory_alarm(own_rabbitmq, on=True)
    try:
        loop = asyncio.get_running_loop()
        async with publishing(own_rabbitmq.url, names) as desk:
            desk.publisher.put(letters(10))
            await until(lambda: desk.publisher.blocked)
            began = loop.time()
        assert loop.time() - began < 15.0
    finally:
        await memory_alarm(own_rabbitmq, on=False)


async def test_a_silent_broker_is_noticed(own_rabbitmq: OwnRabbitMQ) -> None:
    """Fault 45."""
    names = new_names()
    async with peer_of(own_rabbitmq.url) as peer:
        await declare(peer.connection, names, SERVICE, KIND)
    async with publishing(own_rabbitmq.url, names) as desk:
        desk.publisher.put(letters(1))
        await desk.publisher.drained()
        own_rabbitmq.freeze()
        desk.publisher.put(letters(3, first=1))
        await until(lambda: not desk.publisher.connected, 15.0)  # heartbeats of 2 s: given up after 9
        own_rabbitmq.thaw()

        await desk.publisher.drained()

    assert set(ids(desk.confirmed)) == {"0", "1", "2", "3"}
