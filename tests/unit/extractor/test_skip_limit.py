"""When a kind has lost so many records in reading that it is not complete."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractor.reading import SkipReason
from extractor.skip_limit import ALWAYS_ALLOWED, TooManySkipped, check_skipped
from extractor.tally import Tally


def fails(records: int, skipped: int, max_percent: float) -> bool:
    tally = Tally(records=records, skipped=Counter({SkipReason.NO_ID: skipped}))
    try:
        check_skipped(tally, max_percent=max_percent)
    except TooManySkipped:
        return True
    return False


@pytest.mark.parametrize(
    ("records", "skipped", "max_percent", "failed"),
    [
        (0, 0, 1, False),
        (0, 1, 1, True),  # a dump that is skipped whole
        (0, 500, 1, True),
        (1, ALWAYS_ALLOWED, 1, False),
        (1, ALWAYS_ALLOWED + 1, 1, True),
        (99_000, 1_000, 1, False),
        (98_999, 1_001, 1, True),
        (1_000_000, 1, 0, True),
        (0, 500, 100, False),
    ],
)
def test_a_share_of_skips_above_the_limit_fails_a_kind(
    records: int, skipped: int, max_percent: float, failed: bool
) -> None:
    """Fault 74."""
    assert fails(records, skipped, max_percent) is failed


@given(st.integers(1, 10**7), st.integers(0, 10**7), st.floats(0, 100))
def test_more_skips_and_a_lower_limit_never_pass_where_fewer_and_a_higher_fail(
    records: int, skipped: int, max_percent: float
) -> None:
    if fails(records, skipped, max_percent):
        assert fails(records, skipped + 1, max_percent)
        assert fails(records, skipped, max_percent / 2)


def test_the_sentence_names_counts_reasons_and_the_setting() -> None:
    tally = Tally(skipped=Counter({SkipReason.NO_ID: 400, SkipReason.INVALID_UTF8: 100}))

    with pytest.raises(TooManySkipped, match=r"500 of 500 .* \(no_id 400, invalid_utf8 100\).*EXTRACTOR_MAX_SKIPPED"):
        check_skipped(tally, max_percent=1)
