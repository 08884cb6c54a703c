"""What is read of a delivery's headers."""

import re

import pytest

from common.delivery import LOAD_PATTERN, load_of


@pytest.mark.parametrize("header", [None, "", "latest", "2026030", "202603011", "2026-03-1", 20260301, "٢٠٢٦٠٣٠١"])
def test_what_is_no_date_orders_no_versions(header: object) -> None:
    assert load_of(header) is None


def test_eight_digits_are_a_load() -> None:
    assert load_of("20260301") == "20260301"


@pytest.mark.parametrize(
    "header", ["20269999", "20260230", "20261301", "20260100", "00000000", "99991231", "19991231", "21000101"]
)
def test_digits_that_are_no_day_of_this_century_order_no_versions(header: str) -> None:
    assert load_of(header) is None


@pytest.mark.parametrize("header", ["20000101", "20240229", "20991231"])
def test_every_day_of_this_century_is_a_load(header: str) -> None:
    assert load_of(header) == header


def test_the_pattern_takes_what_is_a_load_and_nothing_else() -> None:
    texts = [f"{year}{month:02}{day:02}" for year in range(1999, 2101) for month in range(14) for day in range(33)]

    assert [text for text in texts if (load_of(text) is None) == bool(re.fullmatch(LOAD_PATTERN, text))] == []
