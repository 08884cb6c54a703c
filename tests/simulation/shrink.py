"""Find the shortest story that still fails: leave out whatever it fails without."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from common.backoff import DEFAULT
from tests.simulation.messages import Message
from tests.simulation.story import Setup, Step, Story

T = TypeVar("T")

SIMPLER: tuple[dict[str, object], ...] = (
    {"replicas": 1},
    {"latency": 0.0},
    {"is_fast": False},
    {"share_slots": False},
    {"target": None},
    {"backoff": DEFAULT},
    {"writers": 1},
    {"max_bytes": 8 << 20, "source_max_bytes": 64 << 20},
)
"""What may be left out of a setup."""


def shrink(story: Story, fails: Callable[[Story], bool]) -> Story:
    """Leave out steps, messages and whatever is odd about the setup, as long as the story fails."""
    before = None
    while story != before:
        before = story
        story = _fewer_steps(story, fails)
        for position in range(len(story.steps)):
            story = _fewer_messages(story, position, fails)
        for change in SIMPLER:
            simpler = replace(story, setup=_changed(story.setup, change))
            if simpler != story and fails(simpler):
                story = simpler
    return story


def _fewer_steps(story: Story, fails: Callable[[Story], bool]) -> Story:
    def with_only(kept: Sequence[Step]) -> Story:
        return replace(story, steps=tuple(kept))

    return with_only(_fewer(story.steps, lambda kept: fails(with_only(kept))))


def _changed(setup: Setup, change: dict[str, object]) -> Setup:
    if "writers" in change:
        return replace(setup, writers=1, prefetch=max(setup.prefetch, 2 * setup.size))
    return replace(setup, **change)  # type: ignore[arg-type]


def _fewer_messages(story: Story, position: int, fails: Callable[[Story], bool]) -> Story:
    step = story.steps[position]
    if step.name != "publish":
        return story

    def with_only(kept: Sequence[Message]) -> Story:
        steps = list(story.steps)
        steps[position] = Step("publish", (tuple(kept),))
        return replace(story, steps=tuple(steps))

    return with_only(_fewer(step.values[0], lambda kept: fails(with_only(kept))))


def _fewer(things: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Leave out runs of things, long ones first."""
    length = len(things) // 2 or len(things)
    while length:
        for kept in _without_a_run(things, length):
            if fails(kept):
                things = kept
                break
        else:
            length //= 2
        length = min(length, len(things))
    return things


def _without_a_run(things: Sequence[T], length: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(things), length):
        yield [*things[:first], *things[first + length :]]
