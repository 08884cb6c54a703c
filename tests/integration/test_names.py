"""Servers that have a name: it stands for several addresses, or nobody says what it stands for."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from common.rabbitmq.connection import Connection, connected
from common.rabbitmq.consuming.fast.connection import FastConnection
from common.settings.environment import load
from spindle.management import Management
from spindle.settings import OperatorSettings
from tableinator.connections import reading
from tests.contract.proxy import cuttable_proxy
from tests.integration import graphs, tables
from tests.servers.amqp import proxied, settings
from tests.servers.servers import Neo4j, Postgres, RabbitMQ

NAME = "several.example"
DEAD, SILENT = "127.0.0.2", "127.0.0.3"


class Name:
    """A name whose first address is no server: `DEAD` takes no connection, `SILENT` takes one and says nothing."""

    def __init__(self, stack: ExitStack, patch: pytest.MonkeyPatch) -> None:
        self._stack = stack
        self._find = socket.getaddrinfo
        self._first = ""
        patch.setattr(socket, "getaddrinfo", self.find)

    def is_first(self, address: str) -> None:
        self._first = address

    def begins_with(self, address: str, port: int) -> None:
        self.is_first(address)
        server = self._stack.enter_context(socket.socket())
        server.bind((address, port))
        server.listen(0 if address == DEAD else 100)
        # The first is all that it holds; the second waits, and whoever comes then is not even heard.
        for _ in range(2 if address == DEAD else 0):
            client = self._stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((address, port))

    def find(self, host: str, port: Any, *arguments: Any, **named: Any) -> list[Any]:
        if host != NAME:
            return self._find(host, port, *arguments, **named)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port))) for address in (self._first, "127.0.0.1")
        ]


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> Iterator[Name]:
    with ExitStack() as stack:
        yield Name(stack, monkeypatch)


@pytest.mark.parametrize("first", [DEAD, SILENT])
@pytest.mark.parametrize("make", [Connection, FastConnection])
async def test_another_address_of_the_brokers_name_is_connected_to(
    rabbitmq: RabbitMQ, name: Name, make: type[Connection], first: str
) -> None:
    """Fault 89."""
    async with proxied(rabbitmq.url) as (url, proxy):
        name.begins_with(first, proxy.port)
        broker = settings(url.replace("127.0.0.1", NAME), connect_timeout=6.0)

        async with connected(broker, name="test", make=make) as connection:
            assert connection.broker_version > (3,)


@pytest.mark.parametrize("first", [DEAD, SILENT])
async def test_another_address_of_postgresqls_name_is_connected_to(postgres: Postgres, name: Name, first: str) -> None:
    """Fault 89."""
    parts = urlsplit(postgres.dsn)
    async with cuttable_proxy(parts.hostname or "127.0.0.1", parts.port or 5432) as proxy:
        name.begins_with(first, proxy.port)
        given = tables.settings(tables.at(postgres.dsn, host=NAME, port=proxy.port), connect_timeout=6.0)

        async with reading(given.postgres) as session:
            assert await session.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("first", [DEAD, SILENT])
async def test_another_address_of_neo4js_name_is_connected_to(neo4j: Neo4j, name: Name, first: str) -> None:
    """Fault 89."""
    async with cuttable_proxy(*graphs.address(neo4j)) as proxy:
        name.begins_with(first, proxy.port)

        async with graphs.opened(neo4j, uri=f"bolt://{NAME}:{proxy.port}", connect_timeout=6.0) as store:
            assert store.pool_in_use() == 0  # it was prepared, which takes a connection


async def test_a_host_of_several_that_is_dead_leaves_time_for_the_others(rabbitmq: RabbitMQ, name: Name) -> None:
    """Fault 89. With a blank behind the comma, as lists are written."""
    async with proxied(rabbitmq.url) as (url, proxy):
        name.begins_with(DEAD, proxy.port)
        place = f"127.0.0.1:{proxy.port}"
        broker = settings(url.replace(place, f"{DEAD}:{proxy.port}, {place}"), connect_timeout=6.0)

        for _ in range(3):  # they are taken in any order
            async with connected(broker, name="test") as connection:
                assert connection.broker_version > (3,)


def test_another_address_of_the_managements_name_is_asked(rabbitmq: RabbitMQ, name: Name) -> None:
    """Fault 89."""
    environ = {
        "RABBITMQ_URL": rabbitmq.url,
        "RABBITMQ_MANAGEMENT_URL": rabbitmq.management_url.replace("127.0.0.1", NAME).replace("localhost", NAME),
    }
    name.is_first("127.0.0.9")  # nobody is there

    assert Management.of(load(OperatorSettings, environ)).queues("none-of-this-name") == {}


_SILENT = """
import socket, sys, threading
{hidden}
find = socket.getaddrinfo

def find_nothing(host, *arguments, **named):
    if host in ("nowhere.example", b"nowhere.example"):
        threading.Event().wait()
    return find(host, *arguments, **named)

socket.getaddrinfo = find_nothing
from {service}.__main__ import main
raise SystemExit(main())
"""
_HIDDEN = {"uvloop": "", "asyncio": "sys.modules['uvloop'] = None"}


@pytest.mark.parametrize("loop", _HIDDEN)
@pytest.mark.parametrize(("service", "host"), [("tableinator", "POSTGRES_HOST"), ("graphinator", "NEO4J_HOST")])
def test_a_silent_name_server_is_named_and_holds_nothing_up(service: str, host: str, loop: str) -> None:
    """Fault 83."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SILENT.format(hidden=_HIDDEN[loop], service=service)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={
            "PATH": os.environ["PATH"],
            "METRICS_PORT": "0",
            "METRICS_HOST": "127.0.0.1",
            host: "nowhere.example",
            host.replace("HOST", "CONNECT_TIMEOUT"): "0.5",
        },
    )
    lines: list[str] = []
    try:
        assert process.stderr is not None
        port = 0
        for line in process.stderr:
            lines.append(line)
            if "Serving metrics" in line:
                port = int(line.rpartition("port=")[2])
            if "the name server has not answered within 0.4 s (nowhere.example)" in line:
                break
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10.0) as answer:
            assert answer.status == 200

        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        _, rest = process.communicate(timeout=30.0)
    finally:
        process.kill()
        process.wait()

    assert (process.returncode, "never retrieved" in rest) == (0, False), "".join(lines) + rest
    assert time.monotonic() - began < 8.0  # the deadline of a drain; there is nothing to drain
