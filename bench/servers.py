"""The bench's servers: its own as native processes, started for the run and stopped after it, or those that TEST_…
variables name, as for the tests. Named ones are emptied.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg

from bench.processes import listener
from common.errors import StartRefused
from devstack.stack import neo4j, postgres, rabbitmq
from devstack.stack.files import default_home, make_home
from devstack.stack.native import SERVERS, NativeStack

_COMMIT_TIMES = "track_commit_timestamp"
"""PostgreSQL then knows of each row when it was committed; the latency arms ask for it."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers are; empty for one that is not needed."""

    rabbitmq_url: str = ""
    management_url: str = ""
    postgres_dsn: str = ""
    neo4j_uri: str = ""
    neo4j_username: str = "neo4j"
    neo4j_password: str = ""
    neo4j_database: str = "neo4j"

    def processes(self) -> dict[str, int]:
        """The servers' process ids by role, those on this machine."""
        addresses = {"broker": self.rabbitmq_url, "postgres": self.postgres_dsn, "neo4j": self.neo4j_uri}
        found = {role: listener(urlsplit(address).port or 0) for role, address in addresses.items() if address}
        return {role: pid for role, pid in found.items() if pid is not None}


@contextmanager
def running(needed: Collection[str], say: Callable[[str], None]) -> Iterator[Addresses]:
    """Have servers of these names.

    Raises: StartRefused if another bench runs, StackFailed.
    """
    named = _named()
    if named.rabbitmq_url or named.postgres_dsn or named.neo4j_uri:
        yield named
        return
    home = default_home("bench")
    make_home(home)
    with _alone(home / "running"):
        stack = NativeStack(home / "stack", say=say)
        stack.kill()  # what a bench left that was killed itself
        stack.erase()
        try:
            stack.up([server for server in SERVERS if server in needed])
            if "postgres" in needed:
                _track_commit_times(stack)
            yield _native(stack, needed)
        finally:
            say("stopping the servers")
            stack.kill()
            stack.erase()


def _named() -> Addresses:
    environ = os.environ.get
    return Addresses(
        environ("TEST_RABBITMQ_URL", ""),
        environ("TEST_RABBITMQ_MANAGEMENT_URL", ""),
        environ("TEST_POSTGRES_DSN", ""),
        environ("TEST_NEO4J_URI", ""),
        environ("TEST_NEO4J_USERNAME", "neo4j"),
        environ("TEST_NEO4J_PASSWORD", ""),
    )


def _native(stack: NativeStack, needed: Collection[str]) -> Addresses:
    broker, tables, graph = (stack.member(name).place for name in SERVERS)
    return Addresses(
        rabbitmq.amqp_url(broker) if "rabbitmq" in needed else "",
        rabbitmq.management_url(broker) if "rabbitmq" in needed else "",
        postgres.dsn(tables) if "postgres" in needed else "",
        neo4j.uri(graph) if "neo4j" in needed else "",
        neo4j.USER,
        graph.password,
        neo4j.DATABASE,
    )


def _track_commit_times(stack: NativeStack) -> None:
    member = stack.member("postgres")
    asyncio.run(_execute(postgres.dsn(member.place), f"ALTER SYSTEM SET {_COMMIT_TIMES} = on"))
    member.stop()
    member.start()


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute(statement, timeout=10)
    finally:
        await connection.close(timeout=5)


@contextmanager
def _alone(path: os.PathLike[str]) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartRefused(
                "another bench of this clone is running: two of them would measure each other"
            ) from error
        yield
    finally:
        os.close(descriptor)
