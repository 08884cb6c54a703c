"""Thousands of stories in every run of the tests; `make simulate` runs any number, and tells the story of one."""

import os
import subprocess
import sys

import pytest

from common.backoff import DEFAULT, Jitter, Strategy
from tests.simulation.scenarios import SCENARIOS, draw
from tests.simulation.simulate import simulate

SEEDS = 2000
SEEDS_PER_TEST = 100


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_whatever_happens_nothing_is_lost_doubled_miscounted_or_stuck(first: int) -> None:
    """Faults 3, 4, 13, 14 and 27c."""
    violations = {seed: simulate(draw(seed)).violation for seed in range(first, first + SEEDS_PER_TEST)}

    assert not {seed: text for seed, text in violations.items() if text is not None}


def test_a_story_told_twice_is_the_same() -> None:
    for seed in range(len(SCENARIOS) * 3):
        assert simulate(draw(seed), tell=True).lines == simulate(draw(seed), tell=True).lines


def test_a_story_told_by_another_process_is_the_same() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "6"],
            env={**os.environ, "PYTHONHASHSEED": hashing},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for hashing in ("1", "2")
    ]

    assert told[0] == told[1]


def test_every_sort_of_fault_is_drawn() -> None:
    faults = {fault for seed in range(1000) for step in draw(seed).steps for fault in step.faults}

    assert faults == FAULTS


def test_every_way_to_wait_is_drawn_and_the_default_in_half_of_all_stories() -> None:
    drawn = [draw(seed).setup.backoff for seed in range(1000)]

    assert {(each.strategy, each.jitter) for each in drawn} == {(one, other) for one in Strategy for other in Jitter}
    assert 450 < drawn.count(DEFAULT) < 550


FAULTS = {
    *("message unreadable", "message breaking", "message refused", "message named", "message unknown", "message huge"),
    *("store away down", "store away alarm", "store away readonly", "store away hanging", "store conflicts"),
    *("store mute", "store latency", "store most", "store refusing certain", "store refusing odd"),
    *("lose channel", "lose connection", "cancel consumer", "time out", "stall", "restart broker"),
    *("confirm", "block", "unroute", "lose letters", "stop", "kill", "pause"),
}
