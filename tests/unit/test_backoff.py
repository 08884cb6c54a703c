"""The waiting times of an outage."""

import random
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.backoff import DEFAULT, Backoff, Jitter, Strategy


class _Highest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


class _Lowest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return a


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    """Whatever the settings allow."""
    base, cap = sorted(draw(st.lists(st.floats(0.05, 60), min_size=2, max_size=2)))
    return Backoff(draw(st.sampled_from(Strategy)), draw(st.sampled_from(Jitter)), base, cap)


def test_by_default_the_ceiling_doubles_from_a_tenth_of_a_second_to_two() -> None:
    ceilings = list(islice(DEFAULT.delays(_Highest()), 7))

    assert ceilings == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_the_jitter_is_full_so_that_replicas_do_not_return_in_step() -> None:
    assert list(islice(DEFAULT.delays(_Lowest()), 3)) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("strategy", "waits"),
    [
        (Strategy.EXPONENTIAL, [1.0, 2.0, 4.0, 5.0, 5.0]),
        (Strategy.LINEAR, [1.0, 2.0, 3.0, 4.0, 5.0, 5.0]),
        (Strategy.FIXED, [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_without_jitter_the_waits_are_the_strategys(strategy: Strategy, waits: list[float]) -> None:
    backoff = Backoff(strategy, Jitter.NONE, base=1.0, cap=5.0)

    assert list(islice(backoff.delays(_Lowest()), len(waits))) == waits


@given(backoffs(), st.integers(0, 2**32))
def test_ceilings_go_from_the_base_up_to_the_cap_and_no_wait_is_longer(backoff: Backoff, seed: int) -> None:
    ceilings = list(islice(backoff.ceilings(), 50))
    waits = list(islice(backoff.delays(random.Random(seed)), 50))

    assert ceilings[0] == backoff.base
    assert all(before <= after <= backoff.cap for before, after in pairwise(ceilings))
    assert all(0.0 <= wait <= ceiling for wait, ceiling in zip(waits, ceilings, strict=True))


@pytest.mark.parametrize(
    ("backoff", "words"),
    [
        (DEFAULT, "exponential 0.1 to 2 s, full jitter"),
        (Backoff(Strategy.FIXED, Jitter.NONE, base=0.5), "fixed 0.5 s, no jitter"),
    ],
)
def test_it_says_what_it_is_in_a_few_words(backoff: Backoff, words: str) -> None:
    assert str(backoff) == words
