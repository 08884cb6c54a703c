"""A process that is told to stop: what is finished, and what is left to come again."""

import asyncio
from collections.abc import Sequence

from common.errors import StoreUnavailable
from common.outcomes import Outcomes
from tests.fakes import FakeRecord, body, refuse
from tests.unit.pipeline.line import CONTROL, Line, bodies
from tests.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_partial_batch_is_written_on_stop() -> None:
    """Fault 19."""
    line = Line(size=500)
    line.source.put(*bodies(1, 2, 3))

    async with line.running():
        await asyncio.sleep(0.001)

    assert line.sink.batches == [["1", "2", "3"]]
    assert line.settled()


@in_virtual_time
async def test_stopping_while_holding_writes_nothing_and_ends_at_once() -> None:
    line = Line()
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 101)), CONTROL)
    loop = asyncio.get_running_loop()

    async with line.running():
        await asyncio.sleep(60)
        started = loop.time()
    assert loop.time() - started < 0.5
    assert line.source.acknowledged == []
    assert len(line.source.ready) == 101


@in_virtual_time
async def test_a_drain_does_not_wait_for_a_write_whose_channel_is_lost_after_the_stop() -> None:
    """Fault 93."""
    line = Line()
    line.source.put(*bodies(1, 2, 3))
    running = asyncio.create_task(line.run())
    await asyncio.sleep(1)
    line.sink.gate.clear()  # the store hangs
    line.source.put(*bodies(4, 5))
    await asyncio.sleep(1)

    line.stop()
    await asyncio.sleep(1)
    assert not running.done()
    line.source.lose_channel()

    async with asyncio.timeout(0.5):
        await running
    assert len(line.source.ready) == 2


@in_virtual_time
async def test_stopping_with_a_suspect_ends_at_once_and_leaves_it_to_come_again() -> None:
    line = Line()
    line.sink.fail = refuse("13", certain=False)
    line.source.put(*bodies(*range(1, 51)), CONTROL)
    loop = asyncio.get_running_loop()

    async with line.running():
        await asyncio.sleep(5)
        started = loop.time()
    assert loop.time() - started < 0.5
    assert line.source.ready[0][0] == body(13)
    assert line.letters.ids == []


@in_virtual_time
async def test_stopping_with_a_control_message_behind_an_unconfirmed_dead_letter_ends_within_the_drain() -> None:
    line = Line()
    line.letters.blocked = True
    line.source.put(body(1), b"{", CONTROL)

    await line.stopped_after(5)

    assert CONTROL not in line.source.acknowledged


@in_virtual_time
async def test_stopping_with_a_suspect_whose_store_is_away_ends_within_the_drain() -> None:
    line = Line()
    line.sink.fail = refuse("13", certain=False)
    line.source.put(*bodies(*range(1, 51)), CONTROL)
    running = asyncio.create_task(line.run())
    await asyncio.sleep(2)
    line.sink.fail = lambda _: StoreUnavailable("away")
    await asyncio.sleep(40)

    line.breaker.stop()
    await asyncio.sleep(0.01)  # the broker's answer to the stop takes longer
    line.source.stop()

    await asyncio.wait_for(running, 1)
    assert [message[0] for message in line.source.ready] == [body(13), CONTROL]


@in_virtual_time
async def test_what_a_drain_leaves_behind_is_not_overtaken_by_a_later_version() -> None:
    line = Line(size=1, writers=2)
    slow = line.sink.gate
    slow.clear()
    line.source.put(body(2))
    running = asyncio.create_task(line.run())
    await asyncio.sleep(1)
    line.sink.gate = asyncio.Event()
    line.sink.gate.set()
    line.sink.fail = lambda records: StoreUnavailable("away") if records[0].id == "1" else None
    line.source.put(body(1, "older"), body(2), body(1, "newer"))
    await asyncio.sleep(1)

    line.stop()
    await asyncio.sleep(0.01)
    line.sink.fail = lambda _: None
    slow.set()

    await asyncio.wait_for(running, 8)
    assert [message[0] for message in line.source.ready] == [body(1, "older"), body(1, "newer")]


@in_virtual_time
async def test_what_is_tried_again_when_the_process_drains_is_acknowledged_if_it_was_stored() -> None:
    line = Line(size=500)
    line.sink.fail = refuse(*map(str, range(1, 201)))
    line.source.put(*bodies(*range(1, 201)))
    running = asyncio.create_task(line.run())
    await asyncio.sleep(10)
    line.sink.fail, line.sink.pace = (lambda _: None), 0.02
    await line.until(lambda: len(line.sink.attempts[-1]) > 1)

    line.stop()
    await asyncio.wait_for(running, 8)

    assert len(line.sink.rows) == line.outcome("new") == len(line.source.acknowledged) - len(line.letters.ids) > 1


@in_virtual_time
async def test_a_drain_too_slow_for_its_limit_leaves_the_rest_to_come_again() -> None:
    line = Line(writers=1)
    write = line.sink.write

    async def slowly(records: Sequence[FakeRecord]) -> Outcomes:
        await asyncio.sleep(3)
        return await write(records)

    line.sink.write = slowly  # type: ignore[method-assign]
    line.source.put(*bodies(*range(1, 151)))
    loop = asyncio.get_running_loop()

    async with line.running():
        await asyncio.sleep(1)
        started = loop.time()
    assert loop.time() - started < 8
    assert len(line.sink.rows) == len(line.source.acknowledged) == 100
    assert len(line.source.ready) == 50


@in_virtual_time
async def test_a_drain_writes_the_numbers_for_the_ledger_whatever_the_broker_does() -> None:
    """Fault 97."""
    line = Line()
    line.letters.blocked = True
    line.source.put(*bodies(1, 2, 3), b"no JSON", load="20260301")
    async with line.running():
        await line.until(lambda: len(line.sink.rows) == 3)
        line.source.put(*bodies(1, 2, 3), load="20260301")
        await line.until(lambda: line.outcome("unchanged") == 3)

    assert line.sink.ledger.totals("20260301").unchanged == 3


@in_virtual_time
async def test_a_drain_leaves_a_slow_store_time_for_the_ledger() -> None:
    line = Line()
    line.source.put(*bodies(1, 2, 3), load="20260301")
    async with line.running():
        await line.until(lambda: len(line.sink.rows) == 3)
        line.source.put(*bodies(1, 2, 3), load="20260301")
        await line.until(lambda: line.outcome("unchanged") == 3)
        line.sink.ledger.gate.clear()
        asyncio.get_running_loop().call_later(0.8, line.sink.ledger.gate.set)

    assert line.sink.ledger.totals("20260301").unchanged == 3
