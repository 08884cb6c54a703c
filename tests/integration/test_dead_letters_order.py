"""Dead letters in queues that are not first in, first out: a look loses none, and what goes is what was chosen."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from common.kinds import Names
from common.rabbitmq.ops.fates import Drop, Fate, Keep
from common.rabbitmq.topology import declare
from spindle.dead_letters.choosing import Choice
from spindle.dead_letters.letter import Letter
from spindle.dead_letters.replaying import Replay
from tests.integration.test_dead_letters import (
    KIND,
    SERVICE,
    ids,
    letters,
    look,
    passage,
    queued,
    set_aside,
)
from tests.servers.amqp import Peer, new_names, peer_of
from tests.servers.brokers import Broker, version_of
from tests.servers.servers import RabbitMQ

LETTERS = 200


@asynccontextmanager
async def place(broker: RabbitMQ) -> AsyncIterator[tuple[Peer, Names]]:
    names = new_names()
    async with peer_of(broker.url) as peer:
        await declare(peer.connection, names, SERVICE, KIND)
        yield peer, names


async def with_priorities(peer: Peer, names: Names) -> None:
    """Every tenth has priority 9."""
    channel = await peer.connection.channel()
    for number in range(LETTERS):
        await channel.basic_publish(
            f'{{"id":"{number}"}}'.encode(),
            exchange=names.dead_letter_exchange(SERVICE, KIND),
            properties=Basic.Properties(
                headers={
                    "load": "20260301",
                    "x-spindle-letter": f"{number:016x}",
                    "x-spindle-reason": "refused",
                    "x-spindle-id": str(number),
                },
                priority=9 if number % 10 == 0 else None,
            ),
        )
    await channel.close()


def priorities(messages: list[DeliveredMessage]) -> dict[str, int | None]:
    found = {
        str((message.header.properties.headers or {})["x-spindle-id"]): message.header.properties.priority
        for message in messages
    }
    assert len(found) == len(messages)
    return found


async def test_a_look_at_letters_with_priorities_loses_none(each_rabbitmq: Broker) -> None:
    """Fault 68."""
    async with place(each_rabbitmq) as (peer, names):
        await with_priorities(peer, names)
        looking = passage(each_rabbitmq.url, names)
        seen = Counter[str]()

        await looking.go(_seeing(seen))

        assert seen == Counter({str(number): 1 for number in range(LETTERS)})
        assert looking.twins == 0
        # Quorum queues have priorities since 4.0: before, one with such letters is in order and is turned as any other.
        assert ["priorities" in said for said in looking.said] == ([] if version_of(each_rabbitmq) < "4" else [True])
        after = priorities(await letters(peer, names))
        assert after == {str(number): 9 if number % 10 == 0 else None for number in range(LETTERS)}


async def test_looks_at_letters_with_priorities_keep_their_order(each_rabbitmq: Broker) -> None:
    async with place(each_rabbitmq) as (peer, names):
        await with_priorities(peer, names)
        first = [letter.id for letter in await look(each_rabbitmq.url, names)]

        again = [[letter.id for letter in await look(each_rabbitmq.url, names)] for _ in range(3)]

        assert again == [first] * 3
        assert ids(await letters(peer, names)) == first


async def test_twenty_looks_at_a_queue_with_a_delivery_limit_and_priorities_lose_none(each_rabbitmq: Broker) -> None:
    """A letter that is given back reaches the limit: 20 unless the queue says otherwise, from 4.0 on."""
    names = new_names()
    async with peer_of(each_rabbitmq.url) as peer:
        await peer.declare_queue(names.dead_letter_queue(SERVICE, KIND), {"x-queue-type": "quorum"})
        await peer.declare_exchange(names.dead_letter_exchange(SERVICE, KIND))
        await peer.bind(names.dead_letter_queue(SERVICE, KIND), names.dead_letter_exchange(SERVICE, KIND))
        await set_aside(peer, names, *range(5))
        await set_aside_with_priority(peer, names, 5)

        for _ in range(25):
            assert len(await look(each_rabbitmq.url, names)) == 6

        assert len(await letters(peer, names)) == 6


async def set_aside_with_priority(peer: Peer, names: Names, number: int) -> None:
    await peer.publish(
        names.dead_letter_exchange(SERVICE, KIND),
        b"{}",
        headers={"x-spindle-letter": f"{number:016x}", "x-spindle-reason": "refused", "x-spindle-id": str(number)},
        priority=9,
    )


async def test_a_replay_and_a_drop_of_letters_with_priorities_take_what_was_chosen(each_rabbitmq: Broker) -> None:
    async with place(each_rabbitmq) as (peer, names):
        await with_priorities(peer, names)
        replay = Replay(names, newest_load="20260301")
        chosen = Choice((SERVICE,), (KIND,), ids=tuple(map(str, range(50))))
        dropped = Choice((SERVICE,), (KIND,), ids=tuple(map(str, range(50, 100))))

        await passage(each_rabbitmq.url, names, choice=chosen).go(replay.judge)
        await passage(each_rabbitmq.url, names, choice=dropped).go(lambda _: Drop())

        assert (replay.replayed, replay.refused) == (50, 0)
        back = await queued(peer, names)
        assert sorted(message.body for message in back) == sorted(f'{{"id":"{n}"}}'.encode() for n in range(50))
        assert sorted(ids(await letters(peer, names)), key=int) == [str(number) for number in range(100, LETTERS)]


@pytest.mark.parametrize("window", [8, 64])
async def test_another_consumer_takes_what_it_takes_and_no_more_is_gone(rabbitmq: RabbitMQ, window: int) -> None:
    """Fault 68. It takes 50 letters while the queue is turned."""
    async with place(rabbitmq) as (peer, names):
        await set_aside(peer, names, *range(LETTERS))
        channel = await peer.connection.channel(publisher_confirms=False)
        taken: list[str] = []
        looking, seen = passage(rabbitmq.url, names, window=window), Counter[str]()

        async def take(message: DeliveredMessage) -> None:
            if len(taken) < 50:
                taken.append(str((message.header.properties.headers or {})["x-spindle-id"]))
                await channel.basic_ack(message.delivery_tag or 0)

        await channel.basic_qos(prefetch_count=5)
        consumer = await channel.basic_consume(names.dead_letter_queue(SERVICE, KIND), take)
        await looking.go(_seeing(seen))
        await channel.basic_cancel(consumer.consumer_tag or "")
        await channel.close()

        left = ids(await letters(peer, names))
        assert sorted(map(int, taken + left)) == list(range(LETTERS))
        assert looking.twins == 0
        assert len(set(left) - set(seen)) <= 5  # of the other's prefetch
        assert max(seen.values()) == 1


async def test_letters_that_expire_are_the_only_ones_that_go(rabbitmq: RabbitMQ) -> None:
    """Fault 68: some expire while the queue is turned, so that the copies of the first are met early."""
    async with place(rabbitmq) as (peer, names):
        await set_aside(peer, names, *range(60))
        await set_aside_for(peer, names, 2000, *range(60, 100))
        expired = time.monotonic() + 2.5
        await set_aside(peer, names, *range(100, LETTERS))
        looking, seen = passage(rabbitmq.url, names, window=16), Counter[str]()

        def judge(letter: Letter) -> Fate:
            seen[letter.id] += 1
            if letter.id == "40":
                time.sleep(max(0.0, expired - time.monotonic()))  # the broker's clock has nobody to notify us
            return Keep()

        await looking.go(judge)

        left = set(ids(await letters(peer, names)))
        lasting = {str(number) for number in range(LETTERS) if not 60 <= number < 100}
        assert lasting - left == set()
        assert lasting - set(seen) == set()
        assert (max(seen.values()), looking.twins) == (1, 0)


async def set_aside_for(peer: Peer, names: Names, milliseconds: int, *numbers: int) -> None:
    for number in numbers:
        await peer.publish(
            names.dead_letter_exchange(SERVICE, KIND),
            b"{}",
            headers={"x-spindle-letter": f"{number:016x}", "x-spindle-reason": "refused", "x-spindle-id": str(number)},
            expiration=str(milliseconds),
        )


def _seeing(seen: Counter[str]) -> Any:
    def judge(letter: Letter) -> Fate:
        seen[letter.id] += 1
        return Keep()

    return judge
