"""Run one simulation."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.clock import NoRest, SimulationLoop
from tests.simulation.story import Story
from tests.simulation.telling import logs_told
from tests.simulation.world import World


@dataclass(slots=True)
class Ending:
    """How a simulation ended."""

    violation: str | None
    steps: int
    """Deliveries, acknowledgements, batches and letters, each of which was checked."""
    turns: int
    seconds: float
    """Of virtual time."""
    lines: list[str] = field(default_factory=list)
    """What happened, if it was to be told."""


def simulate(story: Story, *, tell: bool = False) -> Ending:
    """Let a story happen. The same story always ends the same."""
    random_state = random.getstate()
    random.seed(story.seed)  # the waits between two tries
    loop = SimulationLoop()
    lines: list[str] = []
    try:
        world = loop.run_until_complete(_make(story))
        if tell:
            world.checks.is_told = True
            world.checks.told = lambda text: lines.append(f"{loop.time() - 1000:10.4f}  {text}")
        loop.set_exception_handler(lambda _, context: _note(world, context))
        with logs_told(world):
            _run(loop, world)
        return Ending(world.checks.violation, world.checks.steps, loop.turns, loop.time() - 1000, lines)
    finally:
        random.setstate(random_state)
        asyncio.set_event_loop(None)
        loop.close()


async def _make(story: Story) -> World:
    return World(story)


def _run(loop: SimulationLoop, world: World) -> None:
    living = loop.create_task(world.live(), name="world")
    try:
        loop.run_until_complete(living)
    except NoRest as error:
        world.checks.violate(str(error))
    except Exception as error:  # what fails in the model is to be seen with its seed
        world.checks.violate(f"{type(error).__name__}: {error}")
        raise
    finally:
        _clear(loop, world)


def _note(world: World, context: dict[str, Any]) -> None:
    """What nobody caught."""
    if not any(process.life.is_dead for process in world.processes):
        world.checks.violate(f"{context.get('message')}: {context.get('exception')!r}")


def _clear(loop: SimulationLoop, world: World) -> None:
    for process in world.processes:
        process.is_final = True
        process.kill()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.cancel()
    if tasks:
        try:
            loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
        except NoRest:
            return
