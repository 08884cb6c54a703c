"""A stack of native processes in one folder: up, down, and each member by name."""

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from spindle.stack.files import locked, make_home
from spindle.stack.installing import install
from spindle.stack.member import Condition, Member
from spindle.stack.neo4j import Neo4j
from spindle.stack.postgres import PostgreSQL
from spindle.stack.rabbitmq import RabbitMQ
from spindle.stack.recipe import Recipe
from spindle.stack.state import StateFile

SERVERS = ("rabbitmq", "postgres", "neo4j")


def _silent(_line: str) -> None:
    """Say nothing."""


class NativeStack:
    """The servers of one folder, and the services that use them."""

    def __init__(self, home: Path, *, say: Callable[[str], None] = _silent) -> None:
        self.home = home
        self.state = StateFile(home)
        self._say = say
        recipes: list[Recipe] = [RabbitMQ(), PostgreSQL(), Neo4j()]
        self._members = {recipe.name: Member(recipe, home, self.state) for recipe in recipes}

    def member(self, name: str) -> Member:
        """Return a server or service by name."""
        return self._members[name]

    def up(self, servers: Collection[str] = SERVERS) -> list[str]:
        """Install and start what does not run yet; return the names of those started.

        Raises: StartRefused, StackFailed; then everything that this call started is stopped again.
        """
        make_home(self.home)
        with locked(self.home / "lock"):
            resting = [name for name in servers if self.member(name).condition() is not Condition.RUNNING]
            install(resting, self._say)
            self._start([self.member(name) for name in resting])
            return resting

    def down(self) -> list[str]:
        """Stop whatever runs, services first; return the names of those that did."""
        if not self.state.exists():
            return []
        with locked(self.home / "lock"):
            known = [member for name, member in self._members.items() if self.state.member(name).processes]
            self._stop(known)
            return [member.name for member in known]

    def conditions(self) -> dict[str, Condition]:
        """Look at every member."""
        return {name: member.condition() for name, member in self._members.items()}

    def _start(self, members: Collection[Member]) -> None:
        if not members:
            return
        self._say(f"starting {', '.join(member.name for member in members)}")
        abandoned = threading.Event()
        with ThreadPoolExecutor(len(members)) as threads:
            starts = [threads.submit(member.start, abandoned) for member in members]
            with _all_or_none(abandoned, lambda: self._stop(members)):
                _first_failure(starts)

    def _stop(self, members: Collection[Member]) -> None:
        if members:
            with ThreadPoolExecutor(len(members)) as threads:
                list(threads.map(Member.stop, members))


@contextmanager
def _all_or_none(abandoned: threading.Event, undo: Callable[[], None]) -> Iterator[None]:
    try:
        yield
    except BaseException:  # also an interrupt: nothing half-started stays behind
        abandoned.set()
        undo()
        raise


def _first_failure(starts: Collection[Future[None]]) -> None:
    done, _ = wait(starts, return_when=FIRST_EXCEPTION)
    for start in done:
        start.result()
