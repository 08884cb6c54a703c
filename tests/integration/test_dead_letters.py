"""The tool for dead letters against real brokers: what stays stands as it stood, what goes is safe before it goes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage

from common.errors import BrokerUnavailable, StartRefused
from common.kinds import Names, Service
from common.rabbitmq.ops.fates import Fate, Keep
from common.rabbitmq.topology import declare
from spindle.dead_letters.choosing import Choice
from spindle.dead_letters.letter import Letter
from spindle.dead_letters.replaying import Replay
from spindle.dead_letters.sweep import Passage
from tests.integration.test_doctor import user_with
from tests.servers.amqp import Peer, new_names, peer_of, proxied, settings
from tests.servers.brokers import Broker
from tests.servers.servers import RabbitMQ

SERVICE, KIND = Service.TABLEINATOR, "artists"
CHOICE = Choice(services=(SERVICE,), kinds=(KIND,))


@pytest.fixture
async def peer(rabbitmq: RabbitMQ) -> AsyncIterator[Peer]:
    async with peer_of(rabbitmq.url) as peer:
        yield peer


@pytest.fixture
async def names(peer: Peer) -> Names:
    names = new_names()
    await declare(peer.connection, names, SERVICE, KIND)
    return names


def headers_of(number: int, **more: Any) -> dict[str, Any]:
    return {
        "load": "20260301",
        "timestamp_in_ms": 1,
        "x-spindle-letter": f"{number:016x}",
        "x-spindle-reason": "refused",
        "x-spindle-error-class": "DataError",
        "x-spindle-code": "22021",
        "x-spindle-id": str(number),
        "x-spindle-time": "2026-03-02T12:00:00.000+00:00",
        **more,
    }


async def set_aside(peer: Peer, names: Names, *numbers: int, **more: Any) -> None:
    for number in numbers:
        await peer.publish(
            names.dead_letter_exchange(SERVICE, KIND),
            f'{{"id":"{number}","text":"é\\u0000"}}'.encode(),
            headers=headers_of(number, **more),
            message_id=f"artists:{number}",
        )


async def letters(peer: Peer, names: Names) -> list[DeliveredMessage]:
    return await peer.get_all(names.dead_letter_queue(SERVICE, KIND))


async def queued(peer: Peer, names: Names, service: Service = SERVICE) -> list[DeliveredMessage]:
    return await peer.get_all(names.queue(service, KIND))


def passage(url: str, names: Names, **more: Any) -> Passage:
    return Passage(settings(url), names, more.pop("choice", CHOICE), **more)


async def look(url: str, names: Names, **more: Any) -> list[Letter]:
    seen: list[Letter] = []
    await passage(url, names, **more).go(_seeing(seen.append))
    return seen


def _seeing(see: Callable[[Letter], object]) -> Callable[[Letter], Fate]:
    def judge(letter: Letter) -> Fate:
        see(letter)
        return Keep()

    return judge


def headers(message: DeliveredMessage) -> dict[str, Any]:
    """Without a count of deliveries that says "never": some versions say it and some don't."""
    return {
        key: value
        for key, value in (message.header.properties.headers or {}).items()
        if (key, value) != ("x-delivery-count", 0)
    }


def ids(messages: list[DeliveredMessage]) -> list[str]:
    return [str(headers(message)["x-spindle-id"]) for message in messages]


async def test_fifty_looks_leave_letters_their_order_and_their_counts(each_rabbitmq: Broker) -> None:
    """Fault 27a."""
    names = new_names()
    async with peer_of(each_rabbitmq.url) as peer:
        await declare(peer.connection, names, SERVICE, KIND)
        await set_aside(peer, names, *range(150))

        for _ in range(50):
            assert len(await look(each_rabbitmq.url, names)) == 150

        after = await letters(peer, names)
        assert ids(after) == [str(number) for number in range(150)]
        assert [headers(message) for message in after] == [headers_of(number) for number in range(150)]
        assert after[7].body == b'{"id":"7","text":"\xc3\xa9\\u0000"}'
        assert after[7].header.properties.message_id == "artists:7"


async def test_a_letter_of_the_brokers_own_says_why_before_and_after_a_look(each_rabbitmq: Broker) -> None:
    names = new_names()
    async with peer_of(each_rabbitmq.url) as peer:
        await declare(peer.connection, names, SERVICE, KIND)
        await peer.publish(names.exchange(KIND), b'{"type":"data","id":"77"}', headers={"load": "20260301"})
        channel = await peer.connection.channel(publisher_confirms=False)
        message = await channel.basic_get(names.queue(SERVICE, KIND))
        await channel.basic_reject(message.delivery_tag or 0, requeue=False)
        await _until_there(peer, names.dead_letter_queue(SERVICE, KIND), 1)

        looks = [await look(each_rabbitmq.url, names) for _ in range(3)]

        for (letter,) in looks:
            assert (letter.reason, letter.id, letter.load) == ("broker_rejected", "77", "20260301")
            assert letter.time is not None


async def test_a_replay_goes_to_its_own_queue_alone_with_the_body_as_it_came(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    """Fault 20."""
    await declare(peer.connection, names, Service.GRAPHINATOR, KIND)
    await set_aside(peer, names, 1, 2, 3)
    replay = Replay(names, newest_load="20260301")

    await passage(rabbitmq.url, names, choice=Choice((SERVICE,), (KIND,), ids=("2",))).go(replay.judge)

    (back,) = await queued(peer, names)
    assert back.body == b'{"id":"2","text":"\xc3\xa9\\u0000"}'
    assert headers(back) == {"load": "20260301", "x-spindle-replays": 1}
    assert back.header.properties.message_id == "artists:2"
    assert await queued(peer, names, Service.GRAPHINATOR) == []
    assert ids(await letters(peer, names)) == ["1", "3"]
    assert (replay.replayed, replay.failed_again, replay.refused) == (1, 0, 0)


async def test_a_letter_that_failed_again_is_recognised(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    await set_aside(peer, names, 1, **{"x-spindle-replays": 2})
    await set_aside(peer, names, 2)
    replay = Replay(names, newest_load=None)

    again = await look(rabbitmq.url, names, choice=Choice((SERVICE,), (KIND,), replayed=True))
    await passage(rabbitmq.url, names).go(replay.judge)

    assert [(letter.id, letter.replays) for letter in again] == [("1", 2)]
    assert (replay.replayed, replay.failed_again) == (2, 1)
    assert [headers(message)["x-spindle-replays"] for message in await queued(peer, names)] == [3, 1]


async def test_a_letter_goes_to_nobody_whom_its_original_was_sent_to_as_well(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    await declare(peer.connection, names, Service.GRAPHINATOR, KIND)
    other = names.queue(Service.GRAPHINATOR, KIND)
    await set_aside(peer, names, 1, CC=[other])

    [letter] = await look(rabbitmq.url, names)
    await passage(rabbitmq.url, names).go(Replay(names, newest_load=None).judge)

    assert letter.id == "1"
    assert await queued(peer, names, Service.GRAPHINATOR) == []
    assert len(await queued(peer, names)) == 1


async def test_a_letter_whose_queue_is_gone_stays(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    await set_aside(peer, names, *range(100))
    await peer.delete_queue(names.queue(SERVICE, KIND))
    replay = Replay(names, newest_load=None)

    await passage(rabbitmq.url, names).go(replay.judge)

    assert (replay.replayed, replay.refused) == (0, 100)
    assert sorted(ids(await letters(peer, names)), key=int) == [str(number) for number in range(100)]


async def test_a_letter_older_than_the_newest_load_stays_unless_forced(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    await set_aside(peer, names, 1, load="20260201")
    await set_aside(peer, names, 2)

    careful, forced = Replay(names, newest_load="20260301"), Replay(names, newest_load="20260301", force=True)
    await passage(rabbitmq.url, names).go(careful.judge)
    await passage(rabbitmq.url, names).go(forced.judge)

    assert (careful.replayed, careful.outdated) == (1, 1)
    assert (forced.replayed, forced.outdated) == (1, 0)


async def test_what_is_cut_off_in_the_middle_is_whole_after_another_turn(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    await set_aside(peer, names, *range(300))
    seen = 0

    async with proxied(rabbitmq.url) as (url, proxy):

        def cutting(_: Letter) -> Fate:
            nonlocal seen
            seen += 1
            if seen == 170:
                proxy.cut()
            return Keep()

        with pytest.raises(BrokerUnavailable):
            await passage(url, names).go(cutting)
    await _until_there(peer, names.dead_letter_queue(SERVICE, KIND), 300)
    mending = passage(rabbitmq.url, names)
    await mending.go(lambda _: Keep())

    after = ids(await letters(peer, names))
    assert sorted(after, key=int) == [str(number) for number in range(300)]


async def test_a_replay_that_was_killed_is_simply_run_again(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    await set_aside(peer, names, *range(400))
    command = [sys.executable, "-m", "spindle", "dead-letters", "replay", "--service", SERVICE, "--rate", "400"]
    environment = {**os.environ, "RABBITMQ_URL": rabbitmq.url, "DISCOGS_EXCHANGE_PREFIX": names.prefix}
    environment |= {"POSTGRES_PORT": "1", "POSTGRES_CONNECT_TIMEOUT": "1"}  # the newest load is known from the letters

    killed = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        await _until_there(peer, names.queue(SERVICE, KIND), 50)
    finally:
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
    done = await asyncio.to_thread(subprocess.run, command[:-2], env=environment, timeout=120.0, check=False)

    assert done.returncode == 0
    back = {message.body for message in await queued(peer, names)}
    assert len(back) == 400
    assert await letters(peer, names) == []


async def test_a_paced_replay_sends_each_letter_before_it_waits_for_the_next(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    await set_aside(peer, names, 1, 2, 3)
    replay = Replay(names, newest_load=None)

    going = asyncio.create_task(passage(rabbitmq.url, names, pace=3600.0).go(replay.judge))
    try:
        await _until_there(peer, names.queue(SERVICE, KIND), 1)
    finally:
        going.cancel()
        await asyncio.wait([going])

    assert len(await queued(peer, names)) == 1


@pytest.mark.parametrize("lacking", ["configure", "write", "read"])
async def test_a_permission_that_is_lacking_is_named_and_needs_a_person(
    rabbitmq: RabbitMQ, peer: Peer, names: Names, lacking: str
) -> None:
    if not rabbitmq.management_url:
        pytest.skip("needs RabbitMQ's management API, to make users")
    await set_aside(peer, names, 1)
    ours = f"^{names.prefix}-"
    granted = {"configure": ours, "write": f"{ours}|^amq.default$", "read": ours}
    lesser = {"write": ours}.get(lacking, "")

    with user_with(rabbitmq, **granted) as url:
        assert len(await look(url, names)) == 1
    with (
        user_with(rabbitmq, **granted | {lacking: lesser}) as url,
        pytest.raises(StartRefused, match=r"write to amq\.default"),
    ):
        await look(url, names)

    assert ids(await letters(peer, names)) == ["1"]


async def test_a_queue_is_worked_on_by_one_at_a_time(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    await set_aside(peer, names, 1)
    channel = await peer.connection.channel(publisher_confirms=False)
    await channel.queue_declare(f"{names.dead_letter_queue(SERVICE, KIND)}.turn", exclusive=True)

    with pytest.raises(StartRefused, match="being worked on"):
        await look(rabbitmq.url, names)


async def test_a_look_without_copying_writes_nothing(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    await set_aside(peer, names, *range(5))

    seen = await look(rabbitmq.url, names, copying=False)

    assert [letter.id for letter in seen] == ["0", "1", "2", "3", "4"]
    after = await letters(peer, names)
    assert ids(after) == ["0", "1", "2", "3", "4"]
    assert all(headers(message)["x-delivery-count"] == 1 for message in after)


async def test_queues_that_do_not_exist_hold_no_letters(rabbitmq: RabbitMQ) -> None:
    assert await look(rabbitmq.url, new_names(), choice=Choice()) == []


async def _until_there(peer: Peer, queue: str, count: int) -> None:
    async with asyncio.timeout(30.0):
        while (await peer.ready(queue) or 0) < count:
            await asyncio.sleep(0.02)
