"""What is read of a delivery's headers."""

import pytest

from common.delivery import load_of


@pytest.mark.parametrize("header", [None, "", "latest", "2026030", "202603011", "2026-03-1", 20260301, "٢٠٢٦٠٣٠١"])
def test_what_is_no_date_orders_no_versions(header: object) -> None:
    assert load_of(header) is None


def test_eight_digits_are_a_load() -> None:
    assert load_of("20260301") == "20260301"
