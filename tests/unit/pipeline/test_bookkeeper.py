"""The ledger beside the flow: what waits is written, loads are announced, and a paused kind is left alone."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from common.batching.batch import Barrier
from common.delivery import Delivery, Epoch, Properties
from common.envelope import Control, ExtractionComplete, FileComplete
from common.errors import RecordsRefused, Refusal, StoreUnavailable
from common.loads import Announcement, Pause
from common.pipeline.bookkeeper import INTERVAL, announcement_of
from tests.fakes import body
from tests.unit.pipeline.line import Line
from tests.virtual_time import in_virtual_time

LOAD = "20260301"
PAUSE = Pause(kind="artists", since=datetime(2026, 3, 1, tzinfo=UTC), by="me", reason="a backup")
FILE_COMPLETE = json.dumps({"type": "file_complete", "data_type": "artists", "total_processed": 2}).encode()
EXTRACTION_COMPLETE = json.dumps({"type": "extraction_complete", "version": LOAD}).encode()


@in_virtual_time
async def test_a_load_is_announced_once_all_before_it_is_stored_and_then_the_message_is_settled() -> None:
    line = Line()
    line.source.put(body(1), body(2), FILE_COMPLETE, EXTRACTION_COMPLETE, load=LOAD)

    async with line.running():
        await line.until(line.settled)

    announced = line.sink.ledger.announced[LOAD]
    assert (announced.published, line.sink.ledger.totals(LOAD).new) == (2, 2)
    assert line.source.acknowledged[-2:] == [FILE_COMPLETE, EXTRACTION_COMPLETE]


@in_virtual_time
async def test_a_load_is_not_settled_before_its_announcement_is_stored() -> None:
    line = Line()

    async with line.running():
        await asyncio.sleep(1)
        line.sink.ledger.fail = lambda: StoreUnavailable("away")
        line.source.put(FILE_COMPLETE, load=LOAD)
        await line.until(lambda: not line.source.ready)
        with pytest.raises(TimeoutError):
            await line.until(line.settled, within=60)
        line.sink.ledger.fail = lambda: None
        await line.until(line.settled, within=2 * INTERVAL)

    assert list(line.sink.ledger.announced) == [LOAD]


@in_virtual_time
async def test_an_announcement_that_the_store_refuses_is_settled_and_holds_up_nothing() -> None:
    line = Line()

    async with line.running():
        await asyncio.sleep(1)
        line.source.put(FILE_COMPLETE, body(1), EXTRACTION_COMPLETE, load=LOAD)
        line.sink.ledger.fail = lambda: RecordsRefused(Refusal("DataError", "22021", ""), positions=None, certain=True)
        await line.until(line.settled, within=60)

    assert (line.sink.ledger.announced, list(line.sink.rows)) == ({}, ["1"])


@in_virtual_time
async def test_what_goes_wrong_with_the_ledger_is_said_once_if_it_goes_on() -> None:
    line = Line()
    with capture_logs() as logs:
        async with line.running():
            line.sink.ledger.fail = lambda: StoreUnavailable("denied", alarm="Grant it.")
            await asyncio.sleep(10 * INTERVAL)

    assert [entry["reason"] for entry in logs if entry["event"] == "The ledger can't be written"] == ["Grant it."]


@in_virtual_time
async def test_numbers_of_unchanged_records_are_in_the_ledger_after_some_seconds() -> None:
    line = Line()
    line.source.put(body(1), body(2), load=LOAD)

    async with line.running():
        await line.until(line.settled)
        line.source.put(body(1), body(2), load=LOAD)
        await line.until(lambda: line.sink.ledger.totals(LOAD).unchanged == 2, within=2 * INTERVAL)


@in_virtual_time
async def test_control_messages_that_come_every_second_keep_nobody_from_looking_at_the_ledger() -> None:
    """Fault 94."""
    line = Line()
    line.source.put(body(1), load=LOAD)

    async with line.running():
        await line.until(line.settled)
        line.sink.ledger.pause = PAUSE
        line.source.put(body(1), load=LOAD)
        for _ in range(10):
            line.source.put(FILE_COMPLETE, load=LOAD)
            await asyncio.sleep(1)

        assert line.pipeline.bookkeeper.pause == PAUSE
        assert line.sink.ledger.totals(LOAD).unchanged == 1
        line.sink.ledger.pause = None
        await asyncio.sleep(2 * INTERVAL)


@in_virtual_time
async def test_a_drain_writes_the_numbers_that_wait() -> None:
    line = Line()
    line.source.put(body(1), load=LOAD)
    async with line.running():
        await line.until(line.settled)
        line.source.put(body(1), load=LOAD)
        await line.until(line.settled)

    assert line.sink.ledger.totals(LOAD).unchanged == 1


@in_virtual_time
async def test_superseded_and_dead_lettered_records_are_counted_with_their_load() -> None:
    line = Line()
    line.source.put(body(1, "a"), body(1, "b"), b"no JSON", load=LOAD)

    async with line.running():
        await line.until(lambda: line.settled() and line.sink.ledger.totals(LOAD).dead_lettered == 1)

    totals = line.sink.ledger.totals(LOAD)
    assert (totals.new, totals.superseded) == (1, 1)
    assert totals.last_error is not None and totals.last_error.startswith("not_json")
    assert "no JSON" not in totals.last_error


@in_virtual_time
async def test_a_paused_kind_hands_its_deliveries_back_and_goes_on_when_it_is_resumed() -> None:
    line = Line()
    line.sink.gate.clear()
    line.source.put(*(body(number) for number in range(3)), load=LOAD)

    async with line.running():
        await line.until(lambda: bool(line.sink.attempts))
        line.sink.gate.set()
        await line.until(line.settled)
        line.sink.ledger.pause = PAUSE
        await line.until(lambda: line.source.away, within=2 * INTERVAL)
        assert (line.metric("spindle_paused"), line.pipeline.bookkeeper.pause) == (1, PAUSE)
        line.source.put(body(9), load=LOAD)
        with pytest.raises(TimeoutError):
            await line.until(lambda: "9" in line.sink.rows, within=2000)  # longer than the hold limit

        line.sink.ledger.pause = None
        await line.until(line.settled, within=2 * INTERVAL)

    assert (line.metric("spindle_paused"), "9" in line.sink.rows) == (0, True)


@in_virtual_time
async def test_a_kind_that_was_paused_before_the_start_takes_nothing() -> None:
    line = Line()
    line.sink.ledger.pause = PAUSE
    line.source.put(body(1), load=LOAD)

    await line.stopped_after(100)

    assert (line.sink.attempts, len(line.source.ready)) == ([], 1)


@in_virtual_time
async def test_a_kind_takes_nothing_before_its_store_has_said_whether_it_is_paused() -> None:
    line = Line()
    line.sink.ledger.pause = PAUSE
    line.sink.ledger.fail = lambda: StoreUnavailable("away")
    line.source.put(body(1), load=LOAD)

    async with line.running():
        await asyncio.sleep(100)
        line.sink.ledger.fail = lambda: None
        await line.until(lambda: line.source.away, within=2 * INTERVAL)

    assert (line.sink.attempts, len(line.source.ready)) == ([], 1)


@in_virtual_time
async def test_a_store_that_says_nothing_keeps_no_start_from_being_stopped() -> None:
    line = Line()
    line.sink.ledger.gate.clear()
    began = asyncio.get_running_loop().time()

    await line.stopped_after(0.05)

    assert asyncio.get_running_loop().time() - began < 4


@in_virtual_time
async def test_a_store_that_is_away_ends_no_pause_and_begins_none() -> None:
    line = Line()
    line.sink.ledger.pause = PAUSE

    async with line.running():
        await line.until(lambda: line.source.away)
        line.sink.ledger.fail = lambda: StoreUnavailable("away")
        with pytest.raises(TimeoutError):
            await line.until(lambda: not line.source.away, within=60)


@pytest.mark.parametrize(
    ("control", "load", "expected"),
    [
        (FileComplete("artists", total_processed=3, file="f"), LOAD, (LOAD, 3, "f")),
        (FileComplete("artists", total_processed=3, file=f"discogs_{LOAD}_artists.xml.gz"), None, (LOAD, 3, ...)),
        (FileComplete("artists", total_processed=3), None, ("", 3, None)),
        (ExtractionComplete(LOAD, record_counts={"artists": 7}), None, (LOAD, None, None)),
        (ExtractionComplete("latest"), None, None),
        (FileComplete("artists", total_processed=2**63, file="a\0b"), LOAD, (LOAD, None, "ab")),
        (FileComplete("artists", total_processed=-1, file="f" * 300), LOAD, (LOAD, None, "f" * 200)),
    ],
)
def test_what_a_control_message_announces(
    control: Control, load: str | None, expected: tuple[object, ...] | None
) -> None:
    delivery = Delivery(1, Epoch(1), b"", 0.0, load, None, 0, Properties)

    found = announcement_of(Barrier(delivery, control), "artists")

    if expected is None:
        assert found is None
    else:
        told, published, file = expected
        assert isinstance(found, Announcement)
        assert (found.load, found.published) == (told, published)
        assert file is ... or found.file == file


def refusing_everything() -> Line:
    """As much as there is credit for, and more: after a minute the hold limit hands it back."""
    line = Line(size=100, hold_limit=60)
    line.sink.fail = lambda _: RecordsRefused(Refusal("Model", "1", "no"), positions=None, certain=True)
    line.source.put(*(body(number) for number in range(150)), load=LOAD)
    return line


async def obeyed(line: Line, pause: Pause | None) -> None:
    """Pause or resume, and wait until the pipeline knows."""
    line.sink.ledger.pause = pause
    await line.until(lambda: line.pipeline.bookkeeper.pause is pause, within=2 * INTERVAL)


@in_virtual_time
async def test_a_pause_that_begins_and_ends_while_the_hold_limit_keeps_the_kind_away_is_obeyed_at_once() -> None:
    """Fault 99."""
    line = refusing_everything()

    async with line.running():
        await line.until(lambda: line.source.away)
        await obeyed(line, PAUSE)
        await obeyed(line, None)
        assert line.source.away
        line.sink.fail = lambda _: None
        await line.until(line.settled)


@in_virtual_time
async def test_a_hold_limit_that_ends_within_a_pause_consumes_nothing() -> None:
    line = refusing_everything()

    async with line.running():
        await line.until(lambda: line.source.away)
        await obeyed(line, PAUSE)
        line.sink.fail = lambda _: None
        await line.until(lambda: line.metric("spindle_handed_back") == 0)
        assert line.source.away
        line.sink.ledger.pause = None
        await line.until(line.settled)
