"""Numbers on their way to the ledger: none is lost, and no two transactions at a time share a row."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from common.progress import Errors, Numbers, Progress, process_name

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER, LATEST = NOW + timedelta(seconds=1), NOW + timedelta(seconds=2)
FAILURES = (TimeoutError, asyncio.CancelledError)


def test_what_waits_goes_along_with_the_next_transaction_and_waits_no_more() -> None:
    progress = Progress()
    progress.add({"20260301": Numbers(batches=1, unchanged=5)})

    with progress.taking({"20260301": Numbers(batches=1, new=2), "20260401": Numbers(batches=1, new=1)}) as note:
        assert not progress.waits
        assert note.by_load == {
            "20260301": Numbers(batches=2, new=2, unchanged=5),
            "20260401": Numbers(batches=1, new=1),
        }

    assert not progress.waits


def test_what_has_met_no_error_leaves_the_last_one_known() -> None:
    progress = Progress()
    progress.add({"20260301": Numbers(dead_lettered=1, last_error="refused")})
    progress.add({"20260301": Numbers(batches=1, unchanged=5)})

    with progress.taking({"20260301": Numbers(batches=1, new=2)}) as note:
        assert note.by_load["20260301"].last_error == "refused"


@pytest.mark.parametrize("failure", FAILURES)
def test_of_a_transaction_that_fails_only_what_waited_waits_again(failure: type[BaseException]) -> None:
    progress = Progress()
    progress.add({"20260301": Numbers(batches=1, unchanged=5, last_error="first")})

    with pytest.raises(failure), progress.taking({"20260301": Numbers(batches=1, new=2)}):
        progress.add({"20260301": Numbers(stale=1, last_error="second")})
        raise failure

    with progress.taking({}) as note:
        assert note.by_load == {"20260301": Numbers(batches=1, unchanged=5, stale=1, last_error="second")}


def test_transactions_at_a_time_have_rows_of_their_own_and_those_after_each_other_the_same() -> None:
    progress = Progress()

    with progress.taking({}) as first, progress.taking({}) as second:
        assert {first.writer, second.writer} == {0, 1}
    with progress.taking({}) as later:
        assert later.writer == 0


def test_no_two_processes_have_one_name() -> None:
    assert process_name() != process_name()


def test_errors_wait_for_a_transaction_of_their_own_and_no_other_takes_them() -> None:
    progress = Progress()
    progress.count_error("20260301", "conflict", "Deadlock 40P01", at=NOW)
    progress.count_error("20260301", "conflict", "Lock 55P03", at=LATER)
    progress.count_error("20260401", "conflict", "Lock 55P03", at=LATER)

    with progress.taking({"20260301": Numbers(new=1)}):
        pass
    assert (progress.waits, progress.has_numbers, progress.has_errors) == (True, False, True)
    with progress.taking_errors() as errors:
        assert errors == {
            ("20260301", "conflict"): Errors(2, "Lock 55P03", NOW, LATER),
            ("20260401", "conflict"): Errors(1, "Lock 55P03", LATER, LATER),
        }

    assert not progress.waits


@pytest.mark.parametrize("failure", FAILURES)
def test_errors_of_a_note_that_fails_wait_again_before_those_that_came_meanwhile(failure: type[BaseException]) -> None:
    progress = Progress()
    progress.count_error("20260301", "unavailable", "first", at=NOW)

    with pytest.raises(failure), progress.taking_errors():
        progress.count_error("20260301", "unavailable", "second", at=LATER)
        progress.count_error("20260301", "conflict", "third", at=LATEST)
        raise failure

    with progress.taking_errors() as errors:
        assert errors == {
            ("20260301", "unavailable"): Errors(2, "second", NOW, LATER),
            ("20260301", "conflict"): Errors(1, "third", LATEST, LATEST),
        }


def test_an_outage_keeps_one_count_however_long_it_lasts() -> None:
    progress = Progress()
    for _ in range(10_000):
        progress.count_error("20260301", "unavailable", "OSError", at=NOW)

    with progress.taking_errors() as errors:
        assert errors == {("20260301", "unavailable"): Errors(10_000, "OSError", NOW, NOW)}
