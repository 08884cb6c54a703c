"""The way of a record through a pipeline: everything is stored, acknowledged and counted, once."""

import asyncio
from collections.abc import Sequence

import pytest

from common.errors import SinkError
from common.pipeline.reader import PIECE
from tests.fakes import FakeRecord, body, refuse
from tests.unit.pipeline.line import CONTROL, Line, bodies
from tests.virtual_time import in_virtual_time


@in_virtual_time
async def test_everything_published_is_stored_acknowledged_and_counted() -> None:
    line = Line()
    line.source.put(*bodies(*range(1, 1001)))

    async with line.running():
        await line.until(line.settled)

    assert set(line.sink.rows) == {str(number) for number in range(1, 1001)}
    assert len(line.source.acknowledged) == 1000
    assert line.outcome("new") == 1000


@in_virtual_time
async def test_a_flood_is_acknowledged_by_a_frame_per_batch_not_per_record() -> None:
    line = Line(size=100)
    line.source.put(*bodies(*range(1, 2001)))

    async with line.running():
        await line.until(line.settled)

    assert len(line.source.acks) <= 20


@in_virtual_time
async def test_a_large_burst_is_read_in_pieces_and_others_have_their_turns_between() -> None:
    """Fault 41."""
    line = Line(size=2000)
    line.source.put(*bodies(*range(1, 2001)))
    turns = 0

    async with line.running():
        while not line.sink.attempts:
            await asyncio.sleep(0)
            turns += 1

    assert turns >= 2000 / PIECE
    assert line.sink.batches == [[str(number) for number in range(1, 2001)]]


@in_virtual_time
async def test_nothing_is_acknowledged_before_it_is_stored() -> None:
    line = Line()
    line.sink.gate.clear()
    line.source.put(*bodies(*range(1, 51)))

    async with line.running():
        await asyncio.sleep(5)
        assert not line.source.acknowledged
        line.sink.gate.set()


@in_virtual_time
async def test_a_numeric_id_is_taken_as_its_digits() -> None:
    """Fault 8."""
    line = Line()
    line.source.put(b'{"type":"data","id":42}')

    async with line.running():
        await line.until(line.settled)

    assert set(line.sink.rows) == {"42"}


@in_virtual_time
async def test_a_lost_channel_in_mid_write_loses_and_doubles_nothing() -> None:
    """Fault 17."""
    line = Line()
    line.sink.gate.clear()
    line.source.put(*bodies(*range(1, 301)))

    async with line.running():
        await asyncio.sleep(1)
        line.source.lose_channel()
        await asyncio.sleep(1)
        line.sink.gate.set()
        await line.until(line.settled)

    assert len(line.sink.rows) == 300
    assert len(line.source.acknowledged) == 300
    assert sum(line.outcome(name) for name in ("new", "unchanged")) == 300
    assert line.metric("spindle_expired_deliveries_total") > 0


@in_virtual_time
async def test_of_two_versions_in_a_batch_the_winner_is_written_and_both_are_settled() -> None:
    """Fault 22."""
    line = Line()
    line.source.put(body(1, "old"), load="20260101")
    line.source.put(body(1, "new"), load="20260201")
    line.source.put(body(1, "old"), load="20260101")  # redelivered behind

    async with line.running():
        await line.until(line.settled)

    assert line.sink.rows["1"].version == "20260201"
    assert (line.outcome("new"), line.outcome("superseded")) == (1, 2)


@in_virtual_time
async def test_a_control_message_waits_for_an_unconfirmed_dead_letter_before_it() -> None:
    line = Line()
    line.letters.blocked = True
    line.source.put(body(1), b"{", CONTROL)

    async with line.running():
        await asyncio.sleep(60)
        assert CONTROL not in line.source.acknowledged
        line.letters.confirm()
        await line.until(line.settled)

    assert CONTROL in line.source.acknowledged


@in_virtual_time
async def test_consuming_goes_on_until_the_prefetch_is_full_of_unconfirmed_dead_letters() -> None:
    line = Line(size=10, writers=2)
    line.letters.blocked = True
    line.source.put(*[b"{"] * 39, *bodies(*range(1, 101)))

    async with line.running():
        await line.until(lambda: len(line.sink.rows) == 100)
        line.letters.confirm()
        await line.until(line.settled)


@in_virtual_time
async def test_an_unchanged_batch_is_acknowledged_too() -> None:
    """Fault 11."""
    line = Line()
    line.source.put(*bodies(*range(1, 51)), *bodies(*range(1, 51)))

    async with line.running():
        await line.until(line.settled)

    assert (line.outcome("new"), line.outcome("unchanged")) == (50, 50)


@in_virtual_time
async def test_a_bug_in_a_sink_ends_the_pipeline_and_acknowledges_nothing() -> None:
    line = Line()

    def bug(records: Sequence[FakeRecord]) -> SinkError | None:
        raise ZeroDivisionError

    line.sink.fail = bug
    line.source.put(*bodies(1, 2))

    with pytest.raises(ExceptionGroup):
        await line.run()

    assert line.source.acknowledged == []


@pytest.mark.parametrize("steps", range(1, 60))
def test_cancelled_at_any_step_nothing_is_acknowledged_that_is_not_stored(steps: int) -> None:
    """Fault 15."""

    @in_virtual_time
    async def check() -> None:
        line = Line(size=5)
        line.sink.fail = refuse("7")
        line.source.put(*bodies(*range(1, 31)))
        running = asyncio.create_task(line.run())
        for _ in range(steps):
            await asyncio.sleep(0)

        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        kept = {*line.sink.rows, *line.letters.ids}
        assert {
            FakeRecord(str(number)).id for number in range(1, 31) if body(number) in line.source.acknowledged
        } <= kept

    check()
