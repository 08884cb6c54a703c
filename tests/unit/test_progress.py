"""Numbers on their way to the ledger: none is lost, and no two transactions at a time share a row."""

import pytest

from common.progress import Numbers, Progress, process_name


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


def test_of_a_transaction_that_fails_only_what_waited_waits_again() -> None:
    progress = Progress()
    progress.add({"20260301": Numbers(batches=1, unchanged=5, last_error="first")})

    with pytest.raises(TimeoutError), progress.taking({"20260301": Numbers(batches=1, new=2)}):
        progress.add({"20260301": Numbers(stale=1, last_error="second")})
        raise TimeoutError

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
