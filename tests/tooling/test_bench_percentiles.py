"""Percentiles of values and of buckets."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.percentiles import percentile, percentile_of_buckets


@given(st.lists(st.floats(0, 1000), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5.0), (0.25, 2.5), (0.75, 15.0), (0.99, 24.5), (1.0, 25.0)])
def test_a_percentile_of_buckets_lies_evenly_within_its_bucket(share: float, expected: float) -> None:
    buckets = {5.0: 50.0, 25.0: 100.0, inf: 100.0}

    assert percentile_of_buckets(buckets, share) == pytest.approx(expected, abs=0.2)


def test_beyond_the_last_bound_it_is_that_bound() -> None:
    assert percentile_of_buckets({5.0: 1.0, inf: 100.0}, 0.99) == 5.0
