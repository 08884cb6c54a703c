"""A stack of native processes in one folder: up, down, and each member by name."""

import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from devstack.stack import addresses
from devstack.stack.files import locked, make_home
from devstack.stack.installing import install
from devstack.stack.member import Condition, Member
from devstack.stack.neo4j import Neo4j
from devstack.stack.ports import LOOPBACK
from devstack.stack.postgres import PostgreSQL
from devstack.stack.rabbitmq import RabbitMQ
from devstack.stack.recipe import Recipe
from devstack.stack.service import Service
from devstack.stack.state import StateFile

SERVERS = ("rabbitmq", "postgres", "neo4j")
SERVICES = ("graphinator", "tableinator")


def _silent(_line: str) -> None:
    """Say nothing."""


class NativeStack:
    """The servers of one folder, and the services that use them."""

    def __init__(self, home: Path, *, say: Callable[[str], None] = _silent) -> None:
        self.home = home
        self.state = StateFile(home)
        self._say = say
        services = [Service(name, self.environment) for name in SERVICES]
        recipes: list[Recipe] = [RabbitMQ(), PostgreSQL(), Neo4j(), *services]
        self.members = {recipe.name: Member(recipe, home, self.state) for recipe in recipes}

    def member(self, name: str) -> Member:
        """Return a server or service by name."""
        return self.members[name]

    def up(self, servers: Collection[str] = SERVERS, services: Collection[str] = ()) -> list[str]:
        """Install and start what does not run yet; return the names of those started.

        Raises: StartRefused, StackFailed; then everything that this call started is stopped again.
        """
        make_home(self.home)
        with locked(self.home / "lock"):
            resting = [self.member(name) for name in (*servers, *services) if not self._runs(name)]
            install([member.name for member in resting if member.name in SERVERS], self._say)
            with self._all_or_none(resting):
                self._start([member for member in resting if member.name in SERVERS])
                self._start([member for member in resting if member.name in SERVICES])
            return [member.name for member in resting]

    def down(self) -> list[str]:
        """Stop whatever runs, services first; return the names of those that were started."""
        return self._end(Member.stop)

    def kill(self) -> list[str]:
        """End everything at once; for data that nobody needs any more."""
        return self._end(Member.kill)

    def erase(self) -> None:
        """Remove a stopped stack with its data."""
        shutil.rmtree(self.home, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a service, or a person, to the servers."""
        broker, tables, graph = (self.member(name).place for name in SERVERS)
        servers = addresses.environment(broker=broker, tables=tables, graph=graph)
        return {**servers, "SPINDLE_STATE": str(self.home / "loads")}

    def places(self) -> dict[str, str]:
        """Return the variables that say where the services serve metrics, for those that were ever started."""
        ports = {name: self.member(name).place.ports.get("metrics") for name in SERVICES}
        return {f"STATUS_{name.upper()}": f"{LOOPBACK}:{port}" for name, port in ports.items() if port}

    def _runs(self, name: str) -> bool:
        return self.member(name).condition() is Condition.RUNNING

    def _start(self, members: Collection[Member]) -> None:
        if not members:
            return
        self._say(f"starting {', '.join(member.name for member in members)}")
        abandoned = threading.Event()
        with ThreadPoolExecutor(len(members)) as threads:
            try:
                starts = [threads.submit(member.start, abandoned) for member in members]
                for start in wait(starts, return_when=FIRST_EXCEPTION).done:
                    start.result()
            except BaseException:  # an interrupt too: the threads are waited for, and must not wait on
                abandoned.set()
                raise

    @contextmanager
    def _all_or_none(self, members: Collection[Member]) -> Iterator[None]:
        try:
            yield
        except BaseException:  # an interrupt too: nothing half-started stays behind
            self._each(Member.stop, members)
            raise

    def _end(self, how: Callable[[Member], None]) -> list[str]:
        if not self.state.exists():
            return []
        with locked(self.home / "lock"):
            started = [member for name, member in self.members.items() if self.state.member(name).processes]
            self._each(how, [member for member in started if member.name in SERVICES])
            self._each(how, [member for member in started if member.name not in SERVICES])
            return [member.name for member in started]

    def _each(self, how: Callable[[Member], None], members: Collection[Member]) -> None:
        with ThreadPoolExecutor(max(1, len(members))) as threads:
            list(threads.map(how, members))
