"""The store is away: what waits, what is handed back, and how its return is noticed."""

import asyncio

import structlog

from common.errors import StoreUnavailable
from tests.fakes import refuse
from tests.unit.pipeline.line import Line, bodies
from tests.virtual_time import in_virtual_time


@in_virtual_time
async def test_ten_minutes_of_outage_cost_nothing_but_time() -> None:
    """Fault 2."""
    line = Line(hold_limit=900)
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 1001)))

    async with line.running():
        await asyncio.sleep(600)
        asked = len(line.sink.attempts)
        line.sink.fail = lambda _: None
        await line.until(line.settled, within=5)

    assert len(line.sink.rows) == 1000
    assert line.letters.ids == []
    assert asked < 700
    assert line.outcome("new") == 1000


@in_virtual_time
async def test_beyond_the_hold_limit_deliveries_go_back_once_and_return_with_the_store() -> None:
    """Fault 13."""
    line = Line(hold_limit=900)
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 301)))

    async with line.running():
        await asyncio.sleep(3600)
        assert line.source.away
        assert not line.source.unacknowledged
        line.sink.fail = lambda _: None
        await line.until(line.settled, within=5)

    assert len(line.sink.rows) == 300
    assert line.sink.probes
    assert line.outcome("new") == 300


@in_virtual_time
async def test_a_batch_that_was_released_is_not_reported_as_processed() -> None:
    line = Line()
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 101)))

    with structlog.testing.capture_logs() as logs:
        await line.stopped_after(10)

    assert "Batch processed" not in {entry["event"] for entry in logs}


@in_virtual_time
async def test_after_the_hold_limit_a_kept_record_that_is_itself_bad_holds_nobody_up() -> None:
    line = Line(hold_limit=900)
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 301)))

    async with line.running():
        await line.until(lambda: line.source.away, within=1000)
        line.sink.fail = refuse("1")
        await line.until(line.settled, within=5)

    assert line.letters.ids == ["1"]


@in_virtual_time
async def test_an_outage_that_only_a_suspect_meets_is_handed_back_once() -> None:
    """Each time more would take from the delivery budget."""
    line = Line(hold_limit=900)
    line.sink.fail = refuse("13", certain=False)
    line.source.put(*bodies(*range(1, 51)))

    async with line.running():
        await asyncio.sleep(2)
        line.sink.fail = lambda _: StoreUnavailable("away")
        await asyncio.sleep(3000)
        assert [count for _, _, count in line.source.ready] == [1]
        line.sink.fail = lambda _: None
        await line.until(line.settled)


@in_virtual_time
async def test_holders_of_a_lost_channel_are_dropped_and_come_again() -> None:
    line = Line()
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 301)))

    async with line.running():
        await asyncio.sleep(30)
        line.source.lose_channel()
        await asyncio.sleep(30)
        line.sink.fail = lambda _: None
        await line.until(line.settled)

    assert len(line.sink.rows) == 300


@in_virtual_time
async def test_the_stores_return_is_noticed_although_nobody_waits_for_it_any_more() -> None:
    line = Line()
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 301)))

    async with line.running():
        await asyncio.sleep(30)
        line.source.lose_channel()
        line.source.ready.clear()  # another replica has taken them
        await asyncio.sleep(300)
        asked = len(line.sink.attempts)
        assert line.breaker.is_open
        line.sink.fail = lambda _: None
        await line.until(lambda: not line.breaker.is_open, within=2)

    assert asked < 700
    assert line.sink.rows == {}
    assert len(line.sink.probes) == 1
