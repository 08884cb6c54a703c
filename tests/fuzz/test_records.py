"""A moment of the targets about messages and dumps: their seeds, changed seeds, and any bytes."""

from collections.abc import Callable
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import dumps, messages
from tests.fuzz.targets import TARGETS, inputs

CHANGED = 400
RECORDS = {**messages.TARGETS, **dumps.TARGETS}


@pytest.mark.parametrize("target", RECORDS)
def test_seeds_and_changed_seeds_pass(target: str) -> None:
    """Faults 7, 8, 59 and 64."""
    for data in TARGETS[target].seeds:
        TARGETS[target].run(data)
    for _, data in islice(inputs(target), CHANGED):
        TARGETS[target].run(data)


@pytest.mark.parametrize("target", RECORDS.values(), ids=RECORDS)
@given(data=st.binary(max_size=400))
def test_any_bytes_pass(target: Callable[[bytes], None], data: bytes) -> None:
    target(data)


def test_an_input_is_known_by_its_number() -> None:
    assert next(inputs("decoder", 17)) == next(islice(inputs("decoder"), 17, None))
