"""The adaptive batch size: it keeps to its bounds, shrinks where the store is slow, and comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.batching.batch_size import LEAST, BatchSize

TARGET = 1.0

mosts = st.integers(1, 32767)
durations = st.floats(0.0, 100.0)


def settled(size: BatchSize, cost: float, *, fixed: float = 0.0, batches: int = 60) -> None:
    """Write full batches on a store that takes `cost` seconds a record."""
    for _ in range(batches):
        size.stored(size.records, seconds=fixed + cost * size.records)


@given(mosts, st.lists(st.tuples(st.integers(1, 32767), durations | st.none()), max_size=50))
def test_it_stays_between_fifty_or_the_maximum_below_and_the_maximum(
    most: int, events: list[tuple[int, float | None]]
) -> None:
    size = BatchSize(most, target=TARGET)

    for records, seconds in events:
        if seconds is None:
            size.too_large(min(records, most))
        else:
            size.stored(min(records, most), seconds=seconds)

        assert min(LEAST, most) <= size.records <= most


@given(mosts)
def test_it_starts_at_the_maximum(most: int) -> None:
    assert BatchSize(most, target=TARGET).records == most


@given(mosts, st.floats(0.00001, 0.1))
def test_on_a_steady_store_batches_come_to_keep_the_target(most: int, cost: float) -> None:
    size = BatchSize(most, target=TARGET)

    settled(size, cost)

    assert cost * size.records <= TARGET * 1.0001 or size.records == min(LEAST, most)


@given(st.integers(100, 32767), st.floats(0.0001, 0.005))
def test_on_a_steady_store_it_does_not_shrink_more_than_it_must(most: int, cost: float) -> None:
    size = BatchSize(most, target=TARGET)

    settled(size, cost)

    assert size.records >= min(most, TARGET / cost * 0.9 * 0.9 - 1)


@given(mosts, st.floats(0.01, 1.0))
def test_a_store_that_recovers_has_the_maximum_again_within_ten_batches_or_so(most: int, cost: float) -> None:
    size = BatchSize(most, target=TARGET)
    settled(size, cost)

    settled(size, 0.0, batches=11)

    assert size.records == most


@given(mosts, st.floats(1.01, 100.0))
def test_batches_that_were_slow_together_shrink_it_once(most: int, seconds: float) -> None:
    alone, together = BatchSize(most, target=TARGET), BatchSize(most, target=TARGET)

    alone.stored(most, seconds=seconds)
    for _ in range(5):
        together.stored(most, seconds=seconds)

    assert alone.records == together.records


@given(mosts, durations)
def test_no_miss_takes_more_than_half(most: int, seconds: float) -> None:
    size = BatchSize(most, target=TARGET)

    size.stored(most, seconds=seconds)

    assert size.records >= most // 2


def test_too_large_halves_it() -> None:
    size = BatchSize(500, target=TARGET)

    size.too_large(500)

    assert size.records == 250


def test_a_smaller_batch_than_the_size_in_use_does_not_raise_it() -> None:
    size = BatchSize(500, target=TARGET)
    size.too_large(500)

    size.stored(249, seconds=0.01)

    assert size.records == 250


def test_without_a_target_nothing_moves_it() -> None:
    size = BatchSize(500)

    size.stored(500, seconds=60.0)
    size.too_large(500)

    assert size.records == 500


@pytest.mark.parametrize(("seconds", "reduced"), [(1.1, False), (100.0, True)])
def test_it_is_called_reduced_below_half_and_until_it_is_whole_again(seconds: float, reduced: bool) -> None:
    size = BatchSize(500, target=TARGET)

    settled(size, seconds / 500, batches=2)
    assert size.is_reduced == reduced
    settled(size, 0.0)

    assert not size.is_reduced
