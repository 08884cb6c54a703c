"""One record that the store, or the reader, refuses: it is set aside alone."""

from collections.abc import Sequence

import pytest

from common.errors import Reason, SinkError
from tests.fakes import FakeRecord, body, refuse
from tests.unit.pipeline.line import Line, bodies
from tests.virtual_time import in_virtual_time


@in_virtual_time
async def test_one_refused_record_of_five_hundred_is_set_aside_alone() -> None:
    """Fault 5."""
    line = Line(size=500)
    line.sink.fail = refuse("77")
    line.source.put(*bodies(*range(1, 501)))

    async with line.running():
        await line.until(line.settled)

    assert line.letters.ids == ["77"]
    assert len(line.sink.rows) == 499
    assert (line.outcome("new"), line.outcome("dead_lettered")) == (499, 1)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"{", Reason.NOT_JSON),
        (b"\xff\xfe", Reason.NOT_JSON),
        (b"[1]", Reason.NOT_JSON),
        (b"[" * 100_000, Reason.NOT_JSON),
        (b'{"type":"data","id":"3","a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}", Reason.TOO_DEEP),
        (b'{"type":"data","id":"3","a":"' + b"x" * 16 * 2**20 + b'"}', Reason.TOO_LARGE),
        (b'{"type":"data"}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":null}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":""}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":0}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":[1]}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":{"a":1}}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":true}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":"unknown"}', Reason.NO_USABLE_ID),
        (b'{"type":"surprise","id":"1"}', Reason.UNKNOWN_TYPE),
        (b'{"id":"1"}', Reason.UNKNOWN_TYPE),
        (b'{"type":"file_complete"}', Reason.INVALID_CONTROL),
    ],
)
def test_what_holds_no_record_is_dead_lettered_in_one_hop(message: bytes, reason: Reason) -> None:
    """Faults 7 and 8."""

    @in_virtual_time
    async def check() -> None:
        line = Line()
        line.source.put(body(1), message, body(2))

        async with line.running():
            await line.until(line.settled)

        assert [letter.reason for letter in line.letters.letters] == [reason]
        assert line.letters.letters[0].delivery.body == message
        assert set(line.sink.rows) == {"1", "2"}

    check()


@in_virtual_time
async def test_a_record_that_breaks_the_projection_is_set_aside_and_the_line_goes_on() -> None:
    line = Line()
    line.source.put(body(1), body(2, "explode"), body(3))

    async with line.running():
        await line.until(line.settled)

    [letter] = line.letters.letters
    assert (letter.record_id, letter.reason) == ("2", Reason.PROJECTION_FAILED)
    assert letter.refusal.error_class == "ZeroDivisionError"
    assert set(line.sink.rows) == {"1", "3"}


@in_virtual_time
async def test_if_the_winner_is_refused_the_next_version_is_written() -> None:
    line = Line()
    line.source.put(body(1, "good"), load="20260101")
    line.source.put(body(1, "bad"), load="20260201")

    def refuse_new(records: Sequence[FakeRecord]) -> SinkError | None:
        bad = [record.id for record in records if record.version == "20260201"]
        return refuse(*bad)(records) if bad else None

    line.sink.fail = refuse_new

    async with line.running():
        await line.until(line.settled)

    assert line.sink.rows["1"].version == "20260101"
    assert line.letters.ids == ["1"]
    assert (line.outcome("new"), line.outcome("dead_lettered")) == (1, 1)


@in_virtual_time
async def test_a_healthy_batch_beside_a_poisoned_one_changes_nothing_about_it() -> None:
    """Fault 6."""
    line = Line(size=10, writers=2)
    line.sink.fail = refuse("5")
    line.source.put(*bodies(*range(1, 21)))

    async with line.running():
        await line.until(line.settled)

    assert line.letters.ids == ["5"]
    assert len(line.sink.rows) == 19
