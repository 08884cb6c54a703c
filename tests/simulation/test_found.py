"""What the simulator has found in the runtime, each as the short story that showed it."""

from typing import Any

from tests.simulation.messages import Fate, Message
from tests.simulation.queues import Version
from tests.simulation.scenarios import draw
from tests.simulation.simulate import simulate
from tests.simulation.story import Setup, Step, Story

SETUP: dict[str, Any] = {
    "version": Version.V4_0,
    "kinds": 1,
    "replicas": 1,
    "is_fast": False,
    "size": 3,
    "writers": 1,
    "prefetch": 9,
    "max_bytes": 8 << 20,
    "source_max_bytes": 64 << 20,
    "hold_limit": 60.0,
    "latency": 0.0,
    "flood": 4,
    "share_slots": False,
    "target": None,
}


def violation_of(*steps: Step, **setup: Any) -> str | None:
    """How a story ends."""
    return simulate(Story(0, "found", Setup(**(SETUP | setup)), steps)).violation


def publish(*fates: Fate) -> Step:
    """Messages of ids of their own."""
    numbers = range(1, len(fates) + 1)
    return Step("publish", (tuple(Message(n, "artists", str(n), None, fates[n - 1], text=n) for n in numbers),))


def test_a_control_message_behind_what_the_flood_guard_holds_does_not_stop_the_stream_for_ever() -> None:
    assert violation_of(publish(*[Fate.REFUSED] * 4, Fate.CONTROL, Fate.STORED, Fate.STORED)) is None


def test_a_control_message_behind_unreadable_ones_that_are_held_does_not_stop_the_stream_for_ever() -> None:
    assert violation_of(publish(*[Fate.UNREADABLE] * 4, Fate.CONTROL, Fate.STORED, Fate.STORED)) is None


def test_where_all_writes_conflict_the_breaker_stays_open() -> None:
    steps = (
        Step("wait", (1.0,)),  # until it consumes: that needs a write to the ledger, which would be in the way too
        Step("store", ({"conflicts": 1.0},)),
        publish(*[Fate.STORED] * 6),
        Step("wait", (20.0,)),
        Step("store", ({},)),
    )

    ending = simulate(Story(0, "found", Setup(**(SETUP | {"size": 1, "writers": 3, "prefetch": 5})), steps), tell=True)

    assert ending.violation is None
    assert sum("Writing again after conflicts" in line for line in ending.lines) == 1


def test_a_drain_waits_for_no_write_of_what_another_process_has_by_now() -> None:
    steps = (
        Step("wait", (3.0,)),
        Step("store", ({"away": "hanging"},)),
        publish(Fate.STORED, Fate.STORED),
        Step("wait", (3.0,)),  # the ledger's transaction hangs, and the batch waits behind it
        Step("restart_broker", (1.0,)),
        Step("kill", (0, 0.0)),
    )

    assert violation_of(*steps, replicas=2, size=8, prefetch=24) is None


def test_a_timer_that_rings_a_hair_early_is_not_set_again_and_again() -> None:
    """By the clock a little was left, and the loop held it to be due: 20,000 turns in one moment."""
    assert simulate(draw(134685)).violation is None
