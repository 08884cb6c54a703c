"""A moment of each fuzz target: any bytes, and good bytes with a few of them changed."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.amqp import SEEDS, TARGETS


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A seed with some bytes changed, lost or put in."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_every_seed_passes(target: Callable[[bytes], None], seed: int) -> None:
    target(SEEDS[seed])


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@given(data=st.binary(max_size=400) | mutated())
def test_nothing_but_the_documented_error_is_raised(target: Callable[[bytes], None], data: bytes) -> None:
    target(data)
