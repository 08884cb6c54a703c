"""Errors in the ledger: of which load, of what result, and how many, whatever becomes of the store meanwhile."""

import asyncio

import pytest
from structlog.testing import capture_logs

from common.errors import BatchTooLarge, RecordsRefused, Refusal, SinkError, StoreUnavailable, WriteConflict
from common.loads import UNKNOWN
from common.pipeline.bookkeeper import INTERVAL
from tests.fakes import FakeRecord, body, refuse
from tests.unit.pipeline.line import Line
from tests.virtual_time import in_virtual_time

LOAD, OTHER = "20260301", "20260401"
REFUSED = Refusal("CheckViolation", "23514", "the record's text")


def errors(line: Line) -> dict[tuple[str, str], tuple[int, str]]:
    """What the ledger says, by load and result: how many, and the last one."""
    return {key: (met.errors, met.last_error) for key, met in line.sink.ledger.errors().items()}


@pytest.mark.parametrize(
    ("error", "result", "last"),
    [
        (
            WriteConflict("deadlock detected", error_class="DeadlockDetected", code="40P01"),
            "conflict",
            "DeadlockDetected 40P01",
        ),
        (StoreUnavailable("it is away", error_class="ConnectionRefusedError"), "unavailable", "ConnectionRefusedError"),
        (BatchTooLarge(Refusal("QueryCanceled", "57014", "text")), "too_large", "QueryCanceled 57014"),
        (RecordsRefused(REFUSED, positions=None, certain=True), "refused", "CheckViolation 23514"),
        (StoreUnavailable("one that says nothing of its cause"), "unavailable", "StoreUnavailable"),
    ],
)
@in_virtual_time
async def test_each_transaction_that_fails_is_an_error_of_its_load(error: SinkError, result: str, last: str) -> None:
    line = Line()
    line.sink.fail = lambda _: error if len(line.sink.attempts) == 1 else None
    line.source.put(body(1), body(2), load=LOAD)

    async with line.running():
        await line.until(line.settled)

    assert errors(line) == {(LOAD, result): (1, last)}


@pytest.mark.parametrize("error", [RecordsRefused(REFUSED, positions=None, certain=True), BatchTooLarge(REFUSED)])
def test_what_is_logged_of_a_refusal_holds_nothing_of_its_text(error: SinkError) -> None:
    assert (str(error), error.what) == ("CheckViolation 23514", "CheckViolation 23514")


@in_virtual_time
async def test_what_is_stored_at_once_is_no_error() -> None:
    line = Line()
    line.source.put(body(1), body(2), load=LOAD)

    async with line.running():
        await line.until(line.settled)

    assert errors(line) == {}


@in_virtual_time
async def test_probes_are_errors_of_the_load_that_waits() -> None:
    line = Line()
    line.sink.fail = lambda _: StoreUnavailable("away") if len(line.sink.attempts) <= 5 else None
    line.source.put(body(1), load=LOAD)

    async with line.running():
        await line.until(line.settled)

    assert errors(line) == {(LOAD, "unavailable"): (5, "StoreUnavailable")}
    assert len(line.sink.batches) == 1


@in_virtual_time
async def test_a_batch_of_two_loads_is_an_error_of_both_and_a_dead_letter_of_one() -> None:
    line = Line()
    line.sink.fail = refuse("2", named=True)
    line.source.put(body(1), load=LOAD)
    line.source.put(body(2), load=OTHER)
    line.source.put(body(3), load=None)

    async with line.running():
        await line.until(line.settled)

    assert errors(line) == {
        (LOAD, "refused"): (1, "FakeRefusal F0001"),
        (OTHER, "refused"): (1, "FakeRefusal F0001"),
        (UNKNOWN, "refused"): (1, "FakeRefusal F0001"),
        (OTHER, "dead_letter:refused"): (1, "FakeRefusal F0001"),
    }


@in_virtual_time
async def test_dead_letters_are_counted_by_their_reasons_and_never_with_a_text() -> None:
    line = Line()
    line.source.put(b"no JSON", b"{", b'{"type":"data","id":[]}', body(1), load=LOAD)

    async with line.running():
        await line.until(line.settled)

    assert errors(line) == {
        (LOAD, "dead_letter:not_json"): (2, "DecodeError"),
        (LOAD, "dead_letter:no_usable_id"): (1, "DecodeError"),
    }


@in_virtual_time
async def test_errors_are_in_the_ledger_after_some_seconds_although_no_batch_takes_them_along() -> None:
    line = Line()
    line.sink.fail = lambda _: WriteConflict("deadlock") if len(line.sink.attempts) == 1 else None

    async with line.running():
        await asyncio.sleep(1)
        line.source.put(body(1), load=LOAD)
        await line.until(line.settled)
        assert errors(line) == {}
        line.source.put(body(2), load=LOAD)
        await line.until(line.settled)
        assert errors(line) == {}
        await line.until(lambda: errors(line) == {(LOAD, "conflict"): (1, "WriteConflict")}, within=2 * INTERVAL)


@in_virtual_time
async def test_an_outage_at_the_time_of_the_note_loses_no_error_and_counts_none_twice() -> None:
    line = Line()
    line.sink.fail = lambda _: WriteConflict("deadlock") if len(line.sink.attempts) == 1 else None
    line.source.put(body(1), load=LOAD)

    async with line.running():
        await line.until(line.settled)
        line.sink.ledger.fail = lambda: StoreUnavailable("away")
        await asyncio.sleep(3 * INTERVAL)
        assert errors(line) == {}
        line.source.put(b"no JSON", load=LOAD)
        await asyncio.sleep(INTERVAL)
        line.sink.ledger.fail = lambda: None
        await asyncio.sleep(3 * INTERVAL)
        found = errors(line)

    assert (
        found
        == errors(line)
        == {(LOAD, "conflict"): (1, "WriteConflict"), (LOAD, "dead_letter:not_json"): (1, "DecodeError")}
    )


@in_virtual_time
async def test_errors_that_can_not_be_written_are_complained_of_although_a_look_is_answered() -> None:
    line = Line()
    line.source.put(b"no JSON", load=LOAD)
    note = line.sink.ledger.note

    async def refused() -> None:
        with line.sink.ledger.progress.taking_errors():
            raise StoreUnavailable("denied", alarm="Grant it.")

    with capture_logs() as logs:
        async with line.running():
            line.sink.ledger.note = refused  # type: ignore[method-assign]
            await asyncio.sleep(5 * INTERVAL)
            line.sink.ledger.note = note  # type: ignore[method-assign]

    assert [entry["reason"] for entry in logs if entry["event"] == "The ledger can't be written"] == ["Grant it."]
    assert errors(line) == {(LOAD, "dead_letter:not_json"): (1, "DecodeError")}


@in_virtual_time
async def test_a_made_up_record_that_asks_a_store_that_is_away_is_of_no_load() -> None:
    line = Line()
    line.sink.fail = lambda _: StoreUnavailable("away") if len(line.sink.attempts) <= 5 else None

    async with line.running():
        await line.pipeline.ask_store(FakeRecord("made up"))
        await asyncio.sleep(2 * INTERVAL)

    assert len(line.sink.attempts) > 5
    assert errors(line) == {}
