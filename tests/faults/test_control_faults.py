"""Control messages among faults, on a real broker: they wait for what is before them, and are lost by nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from common.errors import StoreUnavailable
from tests.fakes import body
from tests.faults.line import Place, place_at, running, until
from tests.servers.servers import RabbitMQ

FILE_COMPLETE = b'{"type":"file_complete","data_type":"artists"}'
LOAD_COMPLETE = b'{"type":"extraction_complete","version":"20260301"}'


@pytest.fixture
async def place(rabbitmq: RabbitMQ) -> AsyncIterator[Place]:
    async with place_at(rabbitmq.url) as place:
        yield place


async def test_a_control_message_waits_for_a_commit_that_is_slow(place: Place) -> None:
    """Fault 34."""
    async with running(place) as line:
        line.sink.gate.clear()
        await place.publish(body(1), FILE_COMPLETE)
        await until(lambda: line.sink.attempts and line.source.unsettled == 2)
        await asyncio.sleep(0.2)  # in which it could be settled, if it did not wait
        held = line.source.unsettled
        line.sink.gate.set()
        await until(lambda: line.source.unsettled == 0)

        assert held == 2


async def test_an_outage_at_a_control_message_loses_and_dead_letters_nothing(place: Place) -> None:
    """Faults 4, 26 and 35: also where all goes back to the broker and comes again."""
    async with running(place, hold_limit=0.3) as line:
        line.sink.fail = lambda _: StoreUnavailable("away")
        await place.publish(body(1), FILE_COMPLETE, body(2), LOAD_COMPLETE)
        await place.until_waiting(4)
        line.sink.fail = lambda _: None
        await until(lambda: len(line.sink.rows) == 2)
        await until(lambda: line.source.unsettled == 0)

    assert (await place.waiting(), await place.dead()) == (0, 0)


async def test_two_replicas_end_their_control_messages_by_themselves(place: Place) -> None:
    """Fault 37: one's control message does not wait for what the other one holds, nor says anything about it."""
    async with running(place) as one, running(place) as other:
        one.sink.gate.clear()
        other.sink.gate.clear()
        await place.publish(body(1))
        await until(lambda: one.source.unsettled + other.source.unsettled == 1)
        holder, free = (one, other) if one.source.unsettled else (other, one)
        await place.publish(*[FILE_COMPLETE] * 2)
        await until(lambda: free.source.unsettled == 0 and holder.source.unsettled == 2)
        one.sink.gate.set()
        other.sink.gate.set()
        await until(lambda: holder.source.unsettled == 0)

        assert set(holder.sink.rows) == {"1"}
        assert await place.waiting() == 0
