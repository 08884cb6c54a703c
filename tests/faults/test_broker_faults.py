"""Faults between the line and a real broker: crash loops, outages beyond the consumer timeout, flaps, huge messages."""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import psutil
import pytest
from structlog.testing import capture_logs

from common.delivery import Delivery
from common.errors import StoreUnavailable
from tests.contract.source import running as running_source
from tests.contract.source import take
from tests.fakes import body
from tests.faults.line import KIND, PREFETCH, SERVICE, Place, place_at, running, until
from tests.servers.amqp import nested, peer_of
from tests.servers.brokers import Broker, impatient, version_of
from tests.servers.servers import RabbitMQ

CRASHES = 30
FLAPS = 100
LEFT_BEHIND = ("common", "aiormq", "pamqp", "asyncio", "_asyncio", "uvloop", "ssl")
MIB = 2**20


@pytest.fixture
async def place(each_rabbitmq: RabbitMQ) -> AsyncIterator[Place]:
    async with place_at(each_rabbitmq.url) as place:
        yield place


async def test_a_crash_loop_drops_nothing_and_dead_letters_nothing(place: Place) -> None:
    """Faults 10, 27b and 28: thirty deaths with a full prefetch, then a process that lives."""
    count = PREFETCH + 10
    for crash in range(CRASHES):
        async with running_source(place.make_source()) as source:
            if not crash:
                await place.publish(*(body(number) for number in range(1, count + 1)))
            taken: list[Delivery] = await take(source, PREFETCH)
            place.lose_connections()
        await place.until_waiting(count)  # else the next one is given the ten that nobody has had
    dead = await place.dead()

    async with running(place) as line:
        await until(lambda: len(line.sink.rows) == count)

    assert dead == 0
    assert {delivery.delivery_count for delivery in taken} == {CRASHES - 1}
    assert (await place.waiting(), await place.dead()) == (0, 0)


async def test_an_outage_beyond_the_consumer_timeout_costs_one_redelivery_and_no_second_write(
    place: Place, impatient_rabbitmq: Broker
) -> None:
    """Faults 2, 10 and 27c: the records are handed back once, before the broker takes them."""
    seen: list[int] = []
    with capture_logs() as lines:
        async with running(place, hold_limit=TIMEOUT / 2, consumer_timeout=TIMEOUT) as line:
            line.sink.fail = lambda _: StoreUnavailable("away")
            await place.publish(*(body(number) for number in range(1, PREFETCH + 1)))
            began = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() - began < 2 * TIMEOUT:
                seen.append(line.source.unsettled)
                await asyncio.sleep(0.05)
            counts = await peeked(impatient_rabbitmq, place)
            line.sink.fail = lambda _: None
            await until(lambda: len(line.sink.rows) == PREFETCH)

    written = [record_id for batch in line.sink.batches for record_id in batch]
    assert sorted(written) == sorted(line.sink.rows)
    assert counts == {1}
    assert max(seen) == PREFETCH
    assert [line["event"] for line in lines if line["event"] == "Consumer lost"] == []
    assert (await place.waiting(), await place.dead()) == (0, 0)


TIMEOUT = 5.0


@pytest.fixture
def impatient_rabbitmq(each_rabbitmq: RabbitMQ) -> Iterator[Broker]:
    with impatient(each_rabbitmq, after=TIMEOUT, tick=0.25) as broker:
        yield broker


async def peeked(broker: Broker, place: Place) -> set[int]:
    """How often each waiting message has been delivered; they return to the queue with the connection's end."""
    queue = place.names.queue(SERVICE, KIND)
    async with peer_of(broker.url) as peer:
        channel = await peer.connection.channel(publisher_confirms=False)
        counts = set()
        for _ in range(PREFETCH):
            message = await channel.basic_get(queue)
            headers = message.header.properties.headers or {}
            counts.add(int(str(headers.get("x-delivery-count", 0))))
    return counts


async def test_a_hundred_flaps_leave_nothing_behind(rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture) -> None:
    """Fault 43: descriptors, tasks and objects are as many as before; every record is stored."""
    # pytest keeps what is logged, and a warning of aiormq's with its traceback keeps a whole connection.
    caplog.set_level(logging.CRITICAL, logger="aiormq")
    process = psutil.Process()
    # Else the waits between them grow to 2 s.
    async with place_at(rabbitmq.url, steady=0.0) as place, running(place) as line:
        files, tasks, left = 0, 0, Counter[str]()
        for flap in range(1, FLAPS + 1):
            await place.publish(body(flap))
            await until(lambda: len(line.sink.rows) == flap and line.letters.connected)  # noqa: B023 - awaited here
            if flap == FLAPS // 10:  # caches are filled by then
                files, tasks, left = process.num_fds(), len(asyncio.all_tasks()), objects()
            place.proxy.cut()
            await until(lambda: not line.source.connected)
            place.proxy.mend()
            await until(lambda: line.source.connected)
        await until(lambda: process.num_fds() <= files and len(asyncio.all_tasks()) <= tasks)
        with suppress(TimeoutError):
            await until(lambda: objects().total() < left.total() + FLAPS // 5)  # far from one more per flap
        assert objects().total() < left.total() + FLAPS // 5, objects() - left

        assert len(line.sink.rows) == FLAPS
        assert await place.dead() == 0


def objects() -> Counter[str]:
    """How many objects live that a connection could leave behind; all others come and go with the tests around."""
    gc.collect()
    return Counter(
        type(each).__qualname__
        for each in gc.get_objects()
        if str(type(each).__module__).partition(".")[0] in LEFT_BEHIND
        # A loop keeps a cancelled timer, empty, until its time has come: of a hundred quick flaps 67.
        and not (isinstance(each, asyncio.TimerHandle) and each.cancelled())
    )


async def test_a_message_of_any_size_is_stored_or_dead_lettered_as_it_came(
    place: Place, each_rabbitmq: RabbitMQ
) -> None:
    """Fault 50: 1 MiB, the limit and a byte more; where the broker takes them, 100 MiB."""
    sizes = [MIB, 16 * MIB] + ([16 * MIB + 1, 100 * MIB] if version_of(each_rabbitmq) < "4" else [])
    bodies = [padded(number, size) for number, size in enumerate(sizes, 1)]
    async with running(place) as line:
        await place.publish(*bodies, body("small"))
        await until(lambda: "small" in line.sink.rows and line.source.unsettled == 0)

    letters = await place.peer.get_all(place.names.dead_letter_queue(SERVICE, KIND))
    assert {record_id: len(record.payload) for record_id, record in line.sink.rows.items()} == {
        **{str(number): size for number, size in enumerate(sizes[:2], 1)},
        "small": len(body("small")),
    }
    assert [(letter.header.properties.headers or {})["x-spindle-reason"] for letter in letters] == [
        "too_large" for _ in sizes[2:]
    ]
    assert [letter.body == sent for letter, sent in zip(letters, bodies[2:], strict=True)] == [True] * len(sizes[2:])


async def test_the_limit_of_a_message_can_be_set(rabbitmq: RabbitMQ) -> None:
    """Fault 50."""
    async with place_at(rabbitmq.url) as place, running(place, max_bytes=1024) as line:
        await place.publish(padded(1, 1025), padded(2, 1024))
        await until(lambda: "2" in line.sink.rows and line.source.unsettled == 0)

        assert set(line.sink.rows) == {"2"}
        assert await place.dead() == 1


@pytest.mark.parametrize("levels", [250, 480])
async def test_a_dead_letter_with_a_deeply_nested_header_is_published_like_any_other(place: Place, levels: int) -> None:
    """Fault 82: it ended the process, at each start again, and nothing behind it was settled."""
    count = 5 * PREFETCH
    headers, odd = nested(levels)
    async with running(place) as line:
        await place.peer.publish_odd(place.names.exchange(KIND), b"{no json", headers | {"own": 1}, odd)
        await place.publish(*(body(number) for number in range(1, count + 1)))

        await until(lambda: len(line.sink.rows) == count and line.source.unsettled == 0)

    (letter,) = await place.peer.get_all(place.names.dead_letter_queue(SERVICE, KIND))
    read = letter.header.properties.headers or {}
    assert (letter.body, read["own"], read["x-spindle-reason"]) == (b"{no json", 1, "not_json")
    assert isinstance(read["deep"], dict)


def padded(record_id: int, size: int) -> bytes:
    """A message of exactly this size."""
    begin = f'{{"type":"data","id":{record_id},"text":"'.encode()
    return begin + b"x" * (size - len(begin) - 2) + b'"}'
