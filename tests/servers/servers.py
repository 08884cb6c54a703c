"""Where the tests' real servers come from: named by the environment, else containers, else native processes.

TEST_RABBITMQ_URL, TEST_RABBITMQ_MANAGEMENT_URL, TEST_POSTGRES_DSN,
TEST_NEO4J_URI, TEST_NEO4J_USERNAME, TEST_NEO4J_PASSWORD     use this server (it is emptied)
TEST_SERVERS=containers|native                               for the others: only these, whatever else there is
RABBITMQ_IMAGE, POSTGRES_IMAGE, NEO4J_IMAGE                  other images than docker-compose.yml names
RABBITMQ_4_0_IMAGE                                           another one for this version
NEO4J_VERSION=2026.09, POSTGRES_VERSION=18                   which Neo4j, which PostgreSQL is the native one
"""

import asyncio
import base64
import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import asyncpg
from neo4j import GraphDatabase

_T = TypeVar("_T")
_VHOSTS: "list[RabbitMQ]" = []


@dataclass(frozen=True, slots=True)
class RabbitMQ:
    """A broker and a vhost of this test run on it."""

    url: str
    management_url: str  # without login: that of `url` is good for it

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask the management API, as the user of `url`; `path` begins behind `/api/`."""
        parts = urlsplit(self.url)
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        request = urllib.request.Request(
            f"{self.management_url}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10.0) as response:
            content = response.read()
        return json.loads(content) if content else None


@dataclass(frozen=True, slots=True)
class Postgres:
    """A database of this test run."""

    dsn: str

    def version(self) -> str:
        """The major one, such as `15`."""
        number = in_thread(_ask(self.dsn, "SELECT current_setting('server_version_num')"))
        return str(int(number) // 10000)


@dataclass(frozen=True, slots=True)
class Neo4j:
    """A database; the community edition has only this one."""

    uri: str
    username: str
    password: str
    database: str = "neo4j"

    def version(self) -> str:
        """Such as `5.26.30`."""
        with GraphDatabase.driver(self.uri, auth=(self.username, self.password)) as driver:
            return driver.get_server_info().agent.removeprefix("Neo4j/")

    def empty(self) -> None:
        """Remove all nodes and edges; constraints and indexes stay."""
        auth = (self.username, self.password)
        with GraphDatabase.driver(self.uri, auth=auth) as driver, driver.session(database=self.database) as session:
            session.run("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS").consume()


def named_rabbitmq() -> RabbitMQ | None:
    """Return the broker that the environment names."""
    url = os.environ.get("TEST_RABBITMQ_URL")
    return RabbitMQ(url, os.environ.get("TEST_RABBITMQ_MANAGEMENT_URL", "")) if url else None


def named_postgres() -> Postgres | None:
    """Return the server that the environment names."""
    dsn = os.environ.get("TEST_POSTGRES_DSN")
    return Postgres(dsn) if dsn else None


def named_neo4j() -> Neo4j | None:
    """Return the server that the environment names."""
    uri = os.environ.get("TEST_NEO4J_URI")
    if not uri:
        return None
    return Neo4j(uri, os.environ.get("TEST_NEO4J_USERNAME", "neo4j"), os.environ.get("TEST_NEO4J_PASSWORD", ""))


@contextmanager
def vhost_of_this_run(broker: RabbitMQ) -> Iterator[RabbitMQ]:
    """Give a fresh vhost and remove it afterwards; without a management API the one in the URL has to do."""
    if not broker.management_url:
        yield broker
        return
    name = f"test-{secrets.token_hex(4)}"
    user = urlsplit(broker.url).username or "guest"
    broker.api("PUT", f"vhosts/{name}", {})
    broker.api("PUT", f"permissions/{name}/{user}", {"configure": ".*", "write": ".*", "read": ".*"})
    vhost = replace(broker, url=_with_path(broker.url, quote(name, safe="")))
    _VHOSTS.append(vhost)
    try:
        yield vhost
    finally:
        _VHOSTS.remove(vhost)
        with suppress(OSError):  # the test has stopped its broker: the vhost goes with the data
            broker.api("DELETE", f"vhosts/{name}")


def remove_queues() -> None:
    """Remove what tests have left in the vhosts of this run.

    A broker looks after a quorum queue for as long as there is one: 300 that nobody uses cost it 3% of a core.
    """
    for vhost in _VHOSTS:
        queues = f"queues/{quote(unquote(urlsplit(vhost.url).path[1:]), safe='')}"
        with suppress(OSError):  # a broker that is gone took its queues along
            for queue in vhost.api("GET", f"{queues}?columns=name"):
                with suppress(OSError):  # it may be gone by itself, or belong to a connection that ends
                    vhost.api("DELETE", f"{queues}/{quote(queue['name'], safe='')}")


@contextmanager
def database_of_this_run(server: Postgres) -> Iterator[Postgres]:
    """Give a fresh database and remove it afterwards."""
    name = f"test_{secrets.token_hex(4)}"
    in_thread(_execute(server.dsn, f"CREATE DATABASE {name}"))
    try:
        yield Postgres(_with_path(server.dsn, name))
    finally:
        with suppress(OSError, asyncpg.PostgresError):  # the test has stopped its server: it goes with the data
            in_thread(_execute(server.dsn, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


def in_thread(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end beside whatever loop pytest keeps in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=10.0)
    try:
        await connection.execute(statement, timeout=60.0)
    finally:
        await connection.close(timeout=10.0)


async def _ask(dsn: str, question: str) -> Any:
    connection = await asyncpg.connect(dsn, timeout=10.0)
    try:
        return await connection.fetchval(question, timeout=60.0)
    finally:
        await connection.close(timeout=10.0)


def _with_path(address: str, path: str) -> str:
    return urlunsplit(urlsplit(address)._replace(path=f"/{path}"))
