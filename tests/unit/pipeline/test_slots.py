"""Writers that share their slots take turns."""

import asyncio

from common.errors import StoreUnavailable
from tests.unit.pipeline.line import CONTROL, Line, bodies
from tests.virtual_time import in_virtual_time


@in_virtual_time
async def test_kinds_that_share_their_slots_take_turns() -> None:
    slots = asyncio.Semaphore(1)
    busy, other = Line(size=10, slots=slots), Line(size=10, slots=slots)
    for line in (busy, other):
        line.sink.pace = 0.1
    busy.source.put(*bodies(*range(1, 1001)))

    async with busy.running(), other.running():
        await asyncio.sleep(5)
        other.source.put(*bodies(*range(1, 41)))
        await other.until(other.settled, within=20)
        assert not busy.settled()
        busy.sink.pace = 0.0


@in_virtual_time
async def test_a_batch_that_waits_for_its_turn_takes_along_what_comes_meanwhile() -> None:
    slots = asyncio.Semaphore(1)
    line = Line(size=10, writers=1, slots=slots)
    line.source.put(*bodies("a", "b"))

    async with line.running():
        async with slots:
            await asyncio.sleep(1)
            line.source.put(*bodies("c", "c"), CONTROL, *bodies("d"))
            await asyncio.sleep(1)
        await line.until(line.settled)

    assert line.sink.batches == [["a", "b", "c"], ["d"]]
    assert (line.outcome("new"), line.outcome("superseded")) == (4, 1)


@in_virtual_time
async def test_a_batch_that_has_grown_is_left_whole_by_a_lost_channel() -> None:
    slots = asyncio.Semaphore(1)
    line = Line(size=10, writers=1, slots=slots)
    line.source.put(*bodies("a"))
    line.sink.fail = lambda _: StoreUnavailable("away")

    async with line.running():
        async with slots:
            await asyncio.sleep(1)
            line.source.put(*bodies("b", "c"))
        await asyncio.sleep(5)
        line.source.lose_channel()
        line.sink.fail = lambda _: None
        await line.until(line.settled)

    assert line.sink.attempts[0] == ["a", "b", "c"]
    assert (line.outcome("new"), line.metric("spindle_expired_deliveries_total")) == (3, 3)


@in_virtual_time
async def test_a_drain_begins_nothing_late_that_has_waited_for_its_turn() -> None:
    slots = asyncio.Semaphore(1)
    lines = [Line(size=10, writers=1, slots=slots) for _ in range(4)]
    for line in lines:
        line.sink.pace = 0.15
        line.source.put(*bodies(*range(1, 101)))

    async with asyncio.TaskGroup() as tasks:
        for line in lines:
            tasks.create_task(line.stopped_after(1))

    assert [len(line.source.acknowledged) for line in lines] == [len(line.sink.rows) for line in lines]


@in_virtual_time
async def test_a_batch_whose_channel_has_ended_takes_no_turn() -> None:
    slots = asyncio.Semaphore(1)
    line = Line(size=10, slots=slots)
    line.source.put(*bodies(*range(1, 11)))

    async with line.running():
        async with slots:
            await asyncio.sleep(1)
            line.source.lose_channel()
        await line.until(line.settled)

    assert len(line.sink.batches) == 1
    assert (line.outcome("new"), line.metric("spindle_expired_deliveries_total")) == (10, 10)
