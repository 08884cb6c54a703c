"""The sorts of stories: each lets some things happen more often than others."""

import random
from dataclasses import replace

from common.backoff import DEFAULT, Backoff, Jitter, Strategy
from tests.simulation.drawing import PAUSES, Drawing
from tests.simulation.queues import Version
from tests.simulation.story import KINDS, Setup, Step, Story

SCENARIOS: dict[str, tuple[str, ...]] = {
    "broker": ("broker",),
    "store": ("store",),
    "bad records": ("letters", "store"),
    "process": ("process",),
    "refusing": ("refusing", "broker"),
    "replicas": ("broker", "store", "process"),
    "everything": ("broker", "store", "letters", "process", "refusing"),
    "crash loop": ("crashes",),
}
"""What happens beside publishing."""

_FAULTY = {"bad records": 0.3, "everything": 0.12, "refusing": 0.05}


def draw(seed: int) -> Story:
    """The story of a seed."""
    rng = random.Random(f"story {seed}")
    names = list(SCENARIOS)
    scenario = names[seed % len(names)]
    setup = replace(_setup(rng, scenario), backoff=_backoff(seed))
    drawing = Drawing(
        rng,
        setup,
        faulty=rng.choice((0.0, _FAULTY.get(scenario, 0.06))),
        ids=rng.choice((6, 30, 300)),
        loads=("20260101", "20260201") if not setup.is_ordered or rng.random() < 0.5 else (None,),
    )
    steps = _steps(drawing, scenario)
    return Story(seed, scenario, setup, tuple(_with_a_pause(steps, seed, setup)))


def _backoff(seed: int) -> Backoff:
    """Half of all stories have the default. By dice of its own: the story stays the same."""
    rng = random.Random(f"backoff {seed}")
    if rng.random() < 0.5:
        return DEFAULT
    base = rng.choice((0.05, 0.1, 0.5, 2.0))
    cap = max(base, rng.choice((0.5, 2.0, 10.0, 60.0)))
    return Backoff(rng.choice(list(Strategy)), rng.choice(list(Jitter)), base, cap)


def _with_a_pause(steps: list[Step], seed: int, setup: Setup) -> list[Step]:
    """Now and then an operator pauses a kind, and has it go on later. By dice of its own: the story stays the same."""
    rng = random.Random(f"pause {seed}")
    if rng.random() > 0.15:
        return steps
    kind = rng.choice(KINDS[: setup.kinds])
    begin = rng.randint(0, len(steps))
    end = rng.randint(begin, len(steps))
    waiting = Step("wait", (rng.choice((2.0, 10.0, 100.0)),))
    return [*steps[:begin], Step("pause", (kind,)), *steps[begin:end], waiting, Step("resume", (kind,)), *steps[end:]]


def _setup(rng: random.Random, scenario: str) -> Setup:
    size, writers = rng.choice((1, 2, 3, 8)), rng.choice((1, 1, 2, 3))
    if scenario == "bad records":
        size, writers = rng.choice((3, 8)), rng.choice((2, 3))
    setup = Setup(
        version=rng.choice(list(Version)),
        kinds=rng.choice((1, 1, 1, 2)),
        replicas=2 if scenario == "replicas" else 1,
        is_fast=rng.random() < 0.4,
        size=size,
        writers=writers,
        prefetch=(writers + rng.choice((1, 2, 2))) * size,
        max_bytes=rng.choice((8 << 20, 8 << 20, 700)),
        source_max_bytes=64 << 20,
        hold_limit=60.0,
        latency=rng.choice((0.0, 0.0, 0.0005, 0.03)),
        flood=rng.choice((6, 20)),
        share_slots=rng.random() < 0.3,
        target=rng.choice((None, 0.1)),
    )
    if rng.random() < 0.1:
        return replace(setup, max_bytes=700, source_max_bytes=1500)
    return setup


def _steps(drawing: Drawing, scenario: str) -> list[Step]:
    rng, happenings = drawing.rng, SCENARIOS[scenario]
    steps: list[Step] = []
    for _ in range(rng.randint(1, 2) if scenario == "crash loop" else rng.randint(2, 7)):
        if rng.random() < 0.7:
            steps.append(drawing.publish(24))
        steps.append(Step("wait", (rng.choice(PAUSES),)))
        steps += getattr(drawing, rng.choice(happenings))()
    return steps
