"""Dead letters in queues of every kind: none is lost by going through them, and the old way of doing so is found."""

from collections.abc import Callable
from typing import Any

import pytest

from common.rabbitmq.ops import copying
from common.rabbitmq.ops.fates import Drop, Fate, Judge
from common.rabbitmq.ops.outgoing import Outgoing
from common.rabbitmq.ops.queue_reader import StoredLetter
from common.rabbitmq.ops.sightings import Sighting, Sightings
from tests.simulation.rotation_model import Wrap, violations

SEEDS = 1000

Plant = Callable[[pytest.MonkeyPatch], Wrap]


def unchanged(judge: Judge) -> Judge:
    return judge


def test_no_letter_is_lost_or_judged_twice_whatever_its_queue_does() -> None:
    """Fault 68."""
    found = {seed: violated for seed in range(SEEDS) if (violated := violations(seed))}

    assert found == {}


def a_number_met_again_is_a_twin(patch: pytest.MonkeyPatch) -> Wrap:
    """As it was: whatever bears the number of a letter met in this pass is dropped, and the order is believed in."""
    patch.setattr(copying, "sign_of_disorder", lambda *_, **__: "")

    def wrap(judge: Judge) -> Judge:
        met: set[object] = set()

        def judging(letter: StoredLetter) -> Fate:
            number = letter.properties.headers["x-spindle-letter"]
            if number in met:
                return Drop()
            met.add(number)
            return judge(letter)

        return judging

    return wrap


def a_copy_proves_a_twin(patch: pytest.MonkeyPatch) -> Wrap:
    """What looks like a copy of ours is dropped while nothing is held, for the copy is there, or was."""
    real = Sightings.meet

    def meet(self: Sightings, letter: StoredLetter) -> Sighting:
        sighting = real(self, letter)
        return Sighting.TWIN if sighting is Sighting.AGAIN else sighting

    patch.setattr(Sightings, "meet", meet)
    return unchanged


def acknowledged_before_the_confirm(patch: pytest.MonkeyPatch) -> Wrap:
    """A letter counts as done as soon as its copy is written."""
    real = Outgoing.put

    def put(self: Any, taken: Any) -> None:
        real(self, taken)
        self.done.add(taken.number)

    def hear(self: Any, message: Any, taken: bool) -> None:
        self.pending -= 1
        self._condition.notify()

    patch.setattr(Outgoing, "put", put)
    patch.setattr(Outgoing, "_hear", hear)
    return unchanged


@pytest.mark.parametrize("plant", [a_number_met_again_is_a_twin, a_copy_proves_a_twin, acknowledged_before_the_confirm])
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 68."""
    wrap = plant(monkeypatch)

    assert any("is lost" in each for seed in range(SEEDS) for each in violations(seed, wrap))
