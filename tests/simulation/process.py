"""One process: the real consumer with everything that it is made of, begun, stopped, killed and begun again."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from common.consumer import Consumer
from common.errors import Reason, RecordsRefused
from common.service import Shutdown
from common.settings import ConsumerSettings
from common.sink import Outcomes
from tests.simulation.checks import Checks
from tests.simulation.connection import ModelConnection
from tests.simulation.messages import Record, project
from tests.simulation.store import ModelStore

if TYPE_CHECKING:
    from tests.simulation.world import World

GRACE = 1.0
"""Seconds from the deadline to the hard end, as `common/service.py` has it."""


class Life:
    """A process from its start to its end. Dead, it reaches nothing any more, whatever is left of it still does."""

    def __init__(self, world: "World", name: str, settings: ConsumerSettings) -> None:
        self.world, self.name, self.settings = world, name, settings
        self.checks: Checks = world.checks
        self.connections: list[ModelConnection] = []
        self.writing: defaultdict[str, set[str]] = defaultdict(set)
        self.tally: Counter[str] = Counter()
        self.is_dead = False
        self.shutdown = Shutdown()
        # Where settings say how to reach the broker a life stands: each has connections of its own.
        self.consumer = Consumer(replace(settings, broker=self))  # type: ignore[arg-type]
        self.task = asyncio.get_running_loop().create_task(
            self.consumer.run(StoreView(self), self.shutdown), name=f"process {name}"
        )

    @property
    def is_ending(self) -> bool:
        """Whether it has been told to end, or has."""
        return self.is_dead or self.shutdown.begun

    def cut_off(self) -> None:
        """Let it reach nothing any more."""
        self.is_dead = True
        for connection in self.connections:
            connection.lose("process gone")


class Process:
    """What a container is: when one life has ended the next begins."""

    def __init__(self, world: "World", number: int, settings: ConsumerSettings) -> None:
        self._world, self._number, self._settings = world, number, settings
        self._loop = asyncio.get_running_loop()
        self._lives = 0
        self._deadlines: list[asyncio.TimerHandle] = []
        self.restarts_after = 0.0
        self.is_final = False
        """Whether no other life begins."""
        self.life: Life
        self.begin()

    def begin(self) -> None:
        """Begin a life."""
        if self.is_final:
            return
        self._lives += 1
        name = f"process {self._number}.{self._lives}"
        self._world.checks.tell(f"{name} begins")
        self.life = Life(self._world, name, self._settings)
        self.life.task.add_done_callback(lambda task, life=self.life: self._ended(life, task))

    def stop(self) -> None:
        """Send SIGTERM."""
        life = self.life
        if life.is_ending:
            return
        self._world.checks.tell(f"{life.name} is told to stop")
        life.shutdown.begin()
        limit = life.settings.drain_limit
        self._deadlines = [
            self._loop.call_later(limit, life.task.cancel),
            self._loop.call_later(limit + GRACE, self._end_hard, life),
        ]

    def kill(self) -> None:
        """Send SIGKILL."""
        life = self.life
        if life.is_dead:
            return
        self._world.checks.tell(f"{life.name} is killed")
        life.cut_off()
        life.task.cancel()

    def _end_hard(self, life: Life) -> None:
        self._world.checks.violate(f"{life.name} has not ended {GRACE:g} s after its deadline")

    def _ended(self, life: Life, task: "asyncio.Task[Any]") -> None:
        for deadline in self._deadlines:
            deadline.cancel()
        checks = self._world.checks
        error = None if task.cancelled() else task.exception()
        if life.is_dead:
            pass
        elif error is not None:
            checks.violate(f"{life.name} crashed: {_innermost(error)!r}")
        elif not life.shutdown.begun:
            checks.violate(f"{life.name} ended, and nobody asked for it")
        checks.tell(f"{life.name} has ended" + (", at its deadline" if task.cancelled() else ""))
        self._world.past.append(life)
        life.cut_off()
        if checks.violation is None:
            self._loop.call_later(self.restarts_after, self.begin)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class StoreView:
    """The store as one process has it open."""

    name = "model"
    pool_size = 8

    def __init__(self, life: Life) -> None:
        self._life = life
        writers = life.settings.writers
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(writers))

    def pool_in_use(self) -> int:
        return 0

    def slots(self, kind: str) -> asyncio.Semaphore:
        return self._slots["all" if self._life.world.story.setup.share_slots else kind]

    def sink(self, kind: str) -> "ModelSink":
        return ModelSink(self._life, kind)

    def projection(self, kind: str) -> Callable[..., Record]:
        return project


class ModelSink:
    """One kind's place in the store, for one process."""

    def __init__(self, life: Life, kind: str) -> None:
        self._life, self._kind = life, kind
        self._store: ModelStore = life.world.store

    async def write(self, records: Sequence[Record]) -> Outcomes:
        with self._life.checks.batch(self._life, self._kind, records):
            try:
                return await self._store.transact(self._kind, records, lambda: self._store.commit(self._kind, records))
            except RecordsRefused:
                self._life.world.note_refused(self._life)
                raise

    async def rewrite(self, record: Record) -> bool:
        return await self._store.transact(
            self._kind, [record], lambda: self._store.stored(self._kind, record), forced=True
        )

    async def probe(self, record: Record) -> None:
        await self._store.transact(self._kind, [record], lambda: None, forced=True)


class Tally:
    """The metrics of one life, which end with it. Those that nobody looks at are not kept."""

    def __init__(self, service: str, kind: str, life: Life) -> None:
        self.service, self.kind, self._life = service, kind, life

    def settled(self, outcomes: Outcomes, *, superseded: int) -> None:
        self._count("settled", outcomes.total + superseded)

    def dead_lettered(self, _: Reason) -> None:
        self._count("dead_lettered", 1)

    def control(self, _: str) -> None:
        self._count("control", 1)

    def expired(self, count: int) -> None:
        self._count("expired", count)

    def batch(self, *, size: int, **_: object) -> None:
        self._life.checks.batch_taken(size)

    def batch_size_limit(self, records: int) -> None:
        self._life.checks.batch_size_limit(records)

    def _count(self, name: str, by: int) -> None:
        if not self._life.is_dead:
            self._life.tally[name] += by

    def __getattr__(self, _: str) -> Callable[..., None]:
        return _forget


def _forget(*_: object, **__: object) -> None:
    return
