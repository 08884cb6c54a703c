"""What counts as flat."""

from dataclasses import replace

import pytest

from tests.endurance.judging import Sample, trends

STILL = Sample(at=0.0, resident_bytes=100 * 2**20, descriptors=20, tasks=15, settled=0)


def test_what_stays_is_flat_and_an_outlier_is_no_trend() -> None:
    samples = [STILL] * 8
    samples[7] = replace(STILL, resident_bytes=10**9, descriptors=500, tasks=500)

    assert all(trend.is_flat for trend in trends([*samples, *[STILL] * 8]).values())


@pytest.mark.parametrize(("measure", "step"), [("resident_bytes", 2 * 2**20), ("descriptors", 1), ("tasks", 1)])
def test_what_grows_a_little_with_every_sample_is_not_flat(measure: str, step: int) -> None:
    samples = [replace(STILL, **{measure: getattr(STILL, measure) + step * number}) for number in range(16)]

    found = trends(samples)

    assert [name for name, trend in found.items() if not trend.is_flat] == [measure]
    assert found[measure].last - found[measure].first == 12 * step


def test_too_few_samples_are_no_trend() -> None:
    with pytest.raises(ValueError, match="3 samples"):
        trends([STILL] * 3)
