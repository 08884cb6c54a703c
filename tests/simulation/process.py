"""One process: the real consumer with everything that it is made of, begun, stopped, killed and begun again."""

import asyncio
from collections import Counter, defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

from common.consumer import Consumer
from common.service import Shutdown
from common.settings.programs import ConsumerSettings
from tests.simulation.access import ModelAccess
from tests.simulation.checks import Checks
from tests.simulation.connection import ModelConnection
from tests.simulation.sink import ModelLedger, StoreView
from tests.simulation.tally import Tally

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
        self.filled_at: dict[str, float] = {}
        """By queue: when more bytes than may wait had last waited for as long as the socket may stay unread."""
        self.writing: defaultdict[str, set[str]] = defaultdict(set)
        self.tally: Counter[str] = Counter()
        self.transactions = 0
        """Under way."""
        self.written = 0
        """Transactions that were answered."""
        self.failed = 0
        """Transactions with records that the store did not take."""
        self.ledgers: list[ModelLedger] = []
        """By kind, and all that they ever knew, also when the life is over."""
        self.is_dead = False
        self.shutdown = Shutdown()
        self.consumer = Consumer(
            settings,
            broker=ModelAccess(self),
            metrics=partial(Tally, life=self),  # type: ignore[arg-type]  # it has what is looked at, and forgets the rest
            rng=world.rng,
            least_batch=1,  # the simulated batches are smaller than what is worth adapting
            credit=world.story.setup.flood - 1,
        )
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
        self._world.checks.calm()
        self.life = Life(self._world, name, self._settings)
        self.life.task.add_done_callback(partial(self._ended, self.life))

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
