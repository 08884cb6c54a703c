"""One run: publish, break, fix, drain, and count what became of every record."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from common.kinds import Service
from tests.chaos.acts import act, touched
from tests.chaos.costs import Cost, costs
from tests.chaos.drawing import Fault, Story
from tests.chaos.ledger import Ledger, close
from tests.chaos.producing import MARK, Producer, make
from tests.chaos.recovery import Recovery
from tests.chaos.scene import Scene, Skipped
from tests.chaos.supervising import Supervised
from tests.chaos.world import Place, World

_LIMIT = 300.0
"""Seconds for a whole run; one that takes longer has failed."""
_DRAINED = 120.0
_PERSON = 5.0
"""Seconds without progress, while quarantine holds refused records, after which a person allows the dead letters."""
_LOOK = 0.3


@dataclass(slots=True)
class Happened:
    """What became of a fault."""

    fault: Fault
    recovery: float | None = None
    """Seconds from its end to the next record stored; None if nothing was left to store, or more went wrong."""
    skipped: str = ""


@dataclass(slots=True)
class Run:
    """Everything that is known of a run."""

    story: Story
    faults: list[Happened] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    published: int = 0
    redelivered: int = 0
    costs: list[Cost] = field(default_factory=list)
    drains: list[tuple[str, int, float]] = field(default_factory=list)
    """Service, exit code, seconds."""
    ended_by_itself: dict[str, list[int]] = field(default_factory=dict)
    flood_allowed: list[str] = field(default_factory=list)
    not_drained: list[str] = field(default_factory=list)
    rss: dict[str, int] = field(default_factory=dict)
    leaks: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""

    @property
    def drain_seconds(self) -> float:
        """The longest."""
        return max((seconds for _, _, seconds in self.drains), default=0.0)


async def perform(world: World, story: Story, folder: Path) -> Run:
    """Perform a run; its logs are in the folder afterwards."""
    run, began = Run(story), time.monotonic()
    # A task of its own: errors that come while everything is being cancelled would hide the cancellation from ours.
    async with asyncio.TaskGroup() as group:
        group.create_task(_recorded(world, run, folder))
    run.seconds = time.monotonic() - began
    return run


async def _recorded(world: World, run: Run, folder: Path) -> None:
    try:
        async with asyncio.timeout(_LIMIT), world.place(pooled=run.story.is_pooled) as place:
            await _perform(world, place, run, folder)
    except* Exception as errors:  # noqa: BLE001 - whatever it was belongs into the result; the next run begins afresh
        run.error = "; ".join(f"{type(error).__name__}: {error}" for error in _leaves(errors))


async def _perform(world: World, place: Place, run: Run, folder: Path) -> None:
    story = run.story
    material = await asyncio.to_thread(make, story)
    for service in Service:
        await place.broker.declare(service)
    services = {name: Supervised(name, place.environments[name], folder) for name in Service}
    producer = Producer(place.broker.url, place.broker.names, material)
    before = await world.redeliveries.note()
    try:
        async with asyncio.TaskGroup() as tasks:
            lives = [tasks.create_task(each.run(), name=each.service) for each in services.values()]
            rng = random.Random(f"scene {story.dice}")
            scene = Scene(world, place, material, producer, services, rng, tasks)
            for each in services.values():
                await each.until_ready()
            await _break(scene, run)
            await _drain(scene, run)
            run.costs = await costs(scene, material.planted)
            for each in services.values():
                await each.stop(for_good=True)
            await asyncio.wait(lives)
    finally:
        for each in services.values():
            await asyncio.to_thread(each.end)
        _note(run, services)
        run.published = producer.published
        run.leaks = await asyncio.to_thread(leaks, folder, [*world.secrets, MARK], material.texts)
    run.redelivered = await world.redeliveries.note() - before
    run.ledger = await close(place, material)


async def _break(scene: Scene, run: Run) -> None:
    """Publish everything, and let every fault begin and end."""
    recovery = Recovery(scene)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(scene.producer.run(), name="producer")
        for fault in run.story.faults:
            run.faults.append(happened := Happened(fault))
            tasks.create_task(_inflict(scene, happened, recovery), name=fault.kind)


async def _inflict(scene: Scene, happened: Happened, recovery: Recovery) -> None:
    fault = happened.fault
    await asyncio.sleep(fault.at)  # the moment that was drawn
    locks = [scene.lock(name) for name in touched(fault)]
    for lock in locks:
        await lock.acquire()
    try:
        with recovery.trouble(fault):
            async with act(scene, fault):
                await asyncio.sleep(fault.lasts)
        happened.recovery = await recovery.measure(fault)
    except Skipped as error:
        happened.skipped = str(error)
    finally:
        for lock in locks:
            lock.release()


async def _drain(scene: Scene, run: Run) -> None:
    """Wait until both services have nothing left. What a person would have to allow is allowed, and noted."""
    for service, supervised in scene.services.items():
        deadline, last, moved = time.monotonic() + _DRAINED, -1, time.monotonic()
        while not await scene.is_empty(service):
            if time.monotonic() > deadline:
                run.not_drained.append(service)
                break
            settled, metrics = await supervised.settled(), await supervised.metrics()
            if settled != last:
                last, moved = settled or 0, time.monotonic()
            floods = metrics is not None and metrics.sum("spindle_refusing_everything")
            if floods and time.monotonic() - moved > _PERSON and service not in run.flood_allowed:
                run.flood_allowed.append(service)
                supervised.environment = {**supervised.environment, "DEAD_LETTER_FLOOD": "allow"}
                await supervised.stop()
            await asyncio.sleep(_LOOK)


def _note(run: Run, services: dict[Service, Supervised]) -> None:
    for name, each in services.items():
        run.drains += [(name, drain.code, round(drain.seconds, 2)) for drain in each.drains]
        run.rss[name] = each.rss
        if each.ended_by_itself:
            run.ended_by_itself[name] = each.ended_by_itself


def leaks(folder: Path, secrets: list[str], texts: list[str]) -> list[str]:
    """Which logs show a secret, or a piece of a record. The piece itself is not told."""
    found = []
    for log in sorted(folder.glob("*.log")):
        text = log.read_text(errors="replace")
        found += [f"{log.name} shows a secret"] if any(secret in text for secret in secrets) else []
        found += [f"{log.name} shows a record's text"] if any(each in text for each in texts) else []
    return found


def _leaves(errors: BaseExceptionGroup) -> list[BaseException]:
    return [
        leaf
        for error in errors.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
