"""The batch size in use: what moves it, and what does not."""

import asyncio

import structlog

from common.errors import BatchTooLarge, Refusal, StoreUnavailable, WriteConflict
from tests.unit.pipeline.line import Line, bodies
from tests.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_batch_that_is_too_large_is_halved_and_all_of_it_stored() -> None:
    line = Line(size=100)
    line.sink.fail = lambda records: BatchTooLarge(Refusal("E", "57014", "")) if len(records) > 30 else None
    line.source.put(*bodies(*range(1, 101)))

    async with line.running():
        await line.until(line.settled)

    assert len(line.sink.rows) == 100


@in_virtual_time
async def test_a_slow_store_gets_smaller_batches_until_it_is_quick_again() -> None:
    line = Line(size=500, target=1.0)
    line.sink.pace = 0.005
    line.source.put(*bodies(*range(1, 5001)))

    with structlog.testing.capture_logs() as logs:
        async with line.running():
            await line.until(line.settled)
            assert 150 <= line.batch_size <= 200
            assert len(line.sink.batches[-3]) * line.sink.pace <= 1.0
            line.sink.pace = 0.0
            line.source.put(*bodies(*range(5001, 10_001)))
            await line.until(line.settled)

    assert line.batch_size == 500
    said = [entry["event"] for entry in logs if entry["event"] != "Batch processed"]
    assert said == ["Batch size reduced: the store is slow", "Batch size restored"]


@in_virtual_time
async def test_the_room_of_batches_is_what_they_could_have_held_when_they_were_cut() -> None:
    line = Line(size=500, target=1.0)
    line.sink.pace = 0.005
    line.source.put(*bodies(*range(1, 5001)))

    async with line.running():
        await line.until(line.settled)

    assert 5000 <= line.metric("spindle_batch_room_records_total") < 5000 + 500


@in_virtual_time
async def test_too_large_a_batch_halves_the_batch_size_once_however_often_it_is_split() -> None:
    line = Line(size=400, writers=1, target=1.0)
    line.sink.fail = lambda records: BatchTooLarge(Refusal("E", "57014", "")) if len(records) > 30 else None
    line.source.put(*bodies(*range(1, 401)))

    async with line.running():
        await line.until(line.settled)

    assert line.batch_size == 200


@in_virtual_time
async def test_an_outage_does_not_move_the_batch_size() -> None:
    line = Line(size=100, target=1.0)
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 201)))  # a batch for each writer

    async with line.running():
        await asyncio.sleep(60)
        line.sink.pace = 0.02  # those that come back from an outage are slow
        line.sink.fail = lambda _: None
        await line.until(line.settled)

    assert line.batch_size == 100


@in_virtual_time
async def test_a_conflict_does_not_move_the_batch_size() -> None:
    line = Line(size=100, writers=1, target=1.0)
    conflicts = [WriteConflict("deadlock")]
    line.sink.fail = lambda _: conflicts.pop() if conflicts else None
    line.sink.pace = 0.02
    line.source.put(*bodies(*range(1, 101)))

    async with line.running():
        await line.until(line.settled)

    assert line.batch_size == 100


@in_virtual_time
async def test_a_batch_that_is_not_full_does_not_move_the_batch_size() -> None:
    line = Line(size=100, target=1.0)
    line.sink.pace = 0.1
    line.source.put(*bodies(*range(1, 100)))

    async with line.running():
        await line.until(line.settled)

    assert line.batch_size == 100


@in_virtual_time
async def test_waiting_for_another_kinds_turn_is_not_the_stores_slowness() -> None:
    slots = asyncio.Semaphore(1)
    line = Line(size=100, target=1.0, slots=slots)
    line.source.put(*bodies(*range(1, 401)))

    with structlog.testing.capture_logs() as logs:
        async with line.running():
            async with slots:
                await asyncio.sleep(30)
            await line.until(line.settled)

    assert line.batch_size == 100
    assert {entry["duration_ms"] for entry in logs if entry["event"] == "Batch processed"} == {0}
