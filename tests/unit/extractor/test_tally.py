"""What is counted while a kind is read and published."""

from types import SimpleNamespace

import pytest

from extractor import tally as module
from extractor.tally import Awaited, Tally


def test_waiting_counts_the_time_of_a_block_without_what_is_computed_in_it_or_would_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clocks = {"monotonic": 100.0, "process_time": 5.0, "run_delay": 2.0}
    monkeypatch.setattr(module, "time", SimpleNamespace(**{name: lambda name=name: clocks[name] for name in clocks}))
    monkeypatch.setattr(module, "run_delay", lambda: clocks["run_delay"])
    tally = Tally()

    for _ in range(2):
        with tally.waiting(Awaited.BROKER):
            clocks["monotonic"] += 3.0
            clocks["process_time"] += 1.0
            clocks["run_delay"] += 0.5
    with pytest.raises(ValueError), tally.waiting(Awaited.ROOM):
        clocks["monotonic"] += 1.0
        clocks["process_time"] += 1.5  # (the clocks differ by a little, and two threads may compute)
        raise ValueError

    assert tally.waited == {"broker": 3.0, "room": 0.0}
