"""One simulation: broker, store and processes; a story happens to them, all is made well, and the end is checked."""

import asyncio
import random
from dataclasses import replace
from typing import Any

from common.backoff import DEFAULT
from common.rabbitmq.consuming.prefetch import LONGEST_WAIT
from common.settings.environment import load
from common.settings.programs import ConsumerSettings
from tableinator.settings import TableinatorSettings
from tests.simulation.broker import Broker
from tests.simulation.checks import Checks
from tests.simulation.confirming import Confirms
from tests.simulation.ending import check_end
from tests.simulation.faults import Faults
from tests.simulation.messages import Message, Published
from tests.simulation.process import Life, Process
from tests.simulation.store import ModelStore, Mood
from tests.simulation.story import KINDS, Setup, Story

PATIENCE = 300
"""Of the longest waits, within how many all is settled once all is well: by default in ten minutes, because a suspect
needs half of one, and they may come one after the other."""
RECOVERY = 10
"""Of the longest waits between two tries, after how many a store that is back is known to be back."""
EVERY = 5.0
"""Seconds from one record to the next, of those that show in the end that the store takes writes."""

_SETTINGS: ConsumerSettings = load(TableinatorSettings, {}).consumer


def settings_of(setup: Setup) -> ConsumerSettings:
    """The settings that every process of a setup has."""
    return replace(
        _SETTINGS,
        source="fast" if setup.is_fast else "aio-pika",
        kinds=KINDS[: setup.kinds],
        batch_size=setup.size,
        batch_max_bytes=setup.max_bytes,
        source_max_bytes=setup.source_max_bytes,
        writers=setup.writers,
        prefetch=setup.prefetch,
        hold_limit=setup.hold_limit,
        batch_target=setup.target,
        backoff=setup.backoff,
    )


class World:
    """Everything outside of the processes, and the processes."""

    def __init__(self, story: Story) -> None:
        self.story, setup = story, story.setup
        self.loop = asyncio.get_running_loop()
        self.rng = random.Random(f"world {story.seed}")
        self.published = Published()
        self.checks = Checks(self.published, setup)
        self.store = self.checks.store = ModelStore(self.rng, self.published, self.checks)
        self.broker = Broker(setup.version, KINDS[: setup.kinds], latency=setup.latency, checks=self.checks)
        self.past: list[Life] = []
        self.misled: set[tuple[int, str, int]] = set()
        """Lives that met a store which refuses everything, each time that it began to, and each time that one of their
        earlier writes was answered."""
        self.processes: list[Process] = []
        self._moods = 0

    def begin(self) -> None:
        """Begin the processes."""
        settings = settings_of(self.story.setup)
        self.processes = [Process(self, number, settings) for number in range(1, self.story.setup.replicas + 1)]

    def turn_store(self, mood: Mood) -> None:
        """Something else is the matter with the store now."""
        self.store.mood = mood
        self._moods += 1
        self.checks.calm()
        self.checks.turned()

    def note_refused(self, life: Life) -> None:
        """A life hears a refusal; if everything is refused, it is misled until its credit is spent."""
        if self.store.mood.refusing == "certain":
            self.misled.add((self._moods, life.name, life.written))

    async def live(self) -> None:
        """Let the story happen, make all well, and wait for the end."""
        self.begin()
        faults = Faults(self)
        for step in self.story.steps:
            self.checks.tell(f"step: {step}")
            await getattr(faults, step.name)(*step.values)
            if self.checks.violation is not None:
                return
        await self._end(faults)

    async def _end(self, faults: Faults) -> None:
        checks = self.checks
        checks.tell("all is well again")
        self.broker.confirming.is_routed = True
        self.broker.confirming.unblock()
        self.broker.confirming.turn(Confirms.AT_ONCE)
        await faults.store({})
        for kind in KINDS:
            await faults.resume(kind)
        faults.let_go()
        await self._settle(faults)
        if checks.violation is not None:
            return
        await self._publish_more(faults, 2 * self.story.setup.size)
        await self._until_settled(within=30.0)
        await self._until_wide(faults)
        check_end(self)
        await self._stop_all()

    async def _until_wide(self, faults: Faults) -> None:
        """Publish good records until every consumer asks for as many as it was told to."""
        since, full = self.loop.time(), self.story.setup.prefetch
        while self.checks.violation is None and any(each.prefetch < full for each in self.broker.consuming()):
            await self._publish_more(faults, 2 * full)
            await self._until_settled(within=60.0)
            await asyncio.sleep(LONGEST_WAIT / 10)
            if self.loop.time() - since > 2 * LONGEST_WAIT:
                self.checks.narrowed(min(each.prefetch for each in self.broker.consuming()), 2 * LONGEST_WAIT)

    async def _stop_all(self) -> None:
        lives = [process.life for process in self.processes]
        idle = [life for life in lives if not life.is_ending and not life.transactions]
        for process in self.processes:
            process.is_final = True
            process.stop()
        await asyncio.sleep(3.0)
        if not all(life.task.done() for life in idle):
            self.checks.violate("3 s after it was told to stop, with nothing to do, a process has not ended")
        if not all(process.life.task.done() for process in self.processes):
            await asyncio.sleep(self.processes[0].life.settings.drain_limit)

    async def _settle(self, faults: Faults) -> None:
        """Publish what proves that the store takes writes for as long as there is anything left."""
        began, longest = self.loop.time(), max(self.story.setup.longest_wait, DEFAULT.cap)
        patience, recovery = PATIENCE * longest, RECOVERY * longest
        while self.checks.violation is None:
            await self._publish_more(faults, 1)
            await self._until_settled(within=EVERY, must=False)
            if self._is_settled:
                return
            if self.loop.time() > began + patience:
                self.checks.violate(f"{patience:g} s after all was well again not everything is settled")
            elif self.loop.time() > began + recovery and not all(map(_is_available, self.processes)):
                self.checks.violate(f"{recovery:g} s after all was well again the store is held to be away")

    @property
    def _is_settled(self) -> bool:
        return all(queue.is_empty for queue in self.broker.queues.values())

    async def _until_settled(self, *, within: float, must: bool = True) -> None:
        until = self.loop.time() + within
        while not self._is_settled and self.checks.violation is None:
            if self.loop.time() >= until:
                if must:
                    self.checks.violate(f"good records are not settled within {within:g} s")
                return
            await asyncio.sleep(0.25)

    async def _publish_more(self, faults: Faults, count: int) -> None:
        """Good records of ids that nobody has."""
        first = 1 + max(100_000, *(message.number for message in self.published.all[-2:]), 0)
        kinds = KINDS[: self.story.setup.kinds]
        numbers = range(first, first + count * len(kinds))
        await faults.publish(
            tuple(
                Message(number, kinds[number % len(kinds)], f"n{number}", "20260301", text=number) for number in numbers
            )
        )


def _is_available(process: Process) -> bool:
    breaker: Any = process.life.consumer._breaker
    return process.life.is_ending or process.life.transactions > 0 or breaker is None or not breaker.is_open
