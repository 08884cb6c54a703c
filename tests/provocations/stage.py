"""Where a situation is made: a vhost and a database of its own, one service, whoever publishes, and an operator."""

import asyncio
import json
import os
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.kinds import Service
from tests.chaos.proxy import Weather, weather_before
from tests.e2e.broker import Broker
from tests.e2e.services import ROOT, Running, Services
from tests.e2e.sides import Graph, Side, Tables
from tests.integration import graphs, tables
from tests.provocations.feeding import ROUNDS, Feed
from tests.servers import servers
from tests.servers.native import OwnNeo4j, OwnPostgres, OwnRabbitMQ

RELEASES = ("releases",)
RECORDS = {Service.TABLEINATOR: 9_000, Service.GRAPHINATOR: 3_600}
"""Of a feed's whole load, of which more than half are releases; each round of it is written again."""

_FEW, _LOOK = 100, 0.3
"""Messages that may wait while a service keeps up; seconds between two looks."""

_STARTING = 60.0
"""Seconds that the command may take beyond those that it watches."""


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of all situations."""

    rabbitmq: OwnRabbitMQ
    postgres: OwnPostgres
    neo4j: OwnNeo4j


class Stage:
    """One situation's place."""

    def __init__(
        self, servers_: Servers, side: Side, broker: Broker, services: Services, stack: AsyncExitStack, *, number: int
    ) -> None:
        """`number`: what is published on a later one is newer, for the graph is not emptied between two."""
        self.servers, self.side, self.broker, self._number = servers_, side, broker, number
        self._services, self._stack = services, stack
        self._tasks = asyncio.TaskGroup()
        self._started: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()
        self._running: Running | None = None
        self._kinds: Sequence[str] = RELEASES

    @property
    def service(self) -> Service:
        """Which service it is about."""
        return self.side.service

    @property
    def is_graph(self) -> bool:
        """Whether that is graphinator."""
        return self.service is Service.GRAPHINATOR

    @property
    def running(self) -> Running:
        """The service."""
        assert self._running is not None, "the situation has not started it"
        return self._running

    @property
    def tables(self) -> Tables:
        """tableinator's store."""
        assert isinstance(self.side, Tables)
        return self.side

    @property
    def variable(self) -> str:
        """How the names of the service's settings of its store begin."""
        return "NEO4J" if self.is_graph else "POSTGRES"

    async def start(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        kinds: Sequence[str] = RELEASES,
        behind: Mapping[str, str] | None = None,
    ) -> Running:
        """Start the service and wait until it is ready. `behind`: what leads it to its servers by another way."""
        self._kinds = kinds
        own = {"KINDS": ",".join(kinds), **(settings or {})}
        self._running = await self._services.start(
            self.service, {**self.broker.environment, **self.side.environment, **(behind or {}), **own}
        )
        return self._running

    def feed(self, *, records: int | None = None, kinds: Sequence[str] = RELEASES, **how: Any) -> Feed:
        """Publish from now on."""
        feed = self.feed_of(records=records, kinds=kinds, **how)
        self.do(feed.run(self._over), "feed")
        return feed

    def feed_of(self, *, records: int | None = None, kinds: Sequence[str] = RELEASES, **how: Any) -> Feed:
        """Something to publish from."""
        how = {"records": records or RECORDS[self.service], "first": self._number * ROUNDS, **how}
        return Feed(self.broker, self.service, kinds=kinds, **how)

    def do(self, work: Any, name: str) -> None:
        """Have something done beside, until the situation is over."""
        self._started.append(self._tasks.create_task(work, name=name))

    async def busy(self, records: int | None = None) -> None:
        """Wait until the service is in the middle of its work."""
        await self.running.until_settled(records or (300 if self.is_graph else 1_000))

    async def keeping_up(self, records: int = 500) -> None:
        """Wait until the service has made up for its start: hardly anything waits."""
        await self.busy(records)
        async with asyncio.timeout(_STARTING):
            while await self.broker.waiting(self.service) > _FEW:
                await asyncio.sleep(_LOOK)

    async def weather(self, server: str) -> tuple[Weather, dict[str, str]]:
        """A network before the service's store, or before rabbitmq. Returns: it, and what leads the service through."""
        if server == "rabbitmq":
            url = self.broker.url
            weather = await self._stack.enter_async_context(weather_before("127.0.0.1", urlsplit(url).port or 5672))
            return weather, {"RABBITMQ_URL": tables.at(url, port=weather.port)}
        if self.is_graph:
            weather = await self._stack.enter_async_context(weather_before(*graphs.address(self.servers.neo4j)))
            return weather, {"NEO4J_URI": f"bolt://127.0.0.1:{weather.port}"}
        dsn = self.tables.dsn
        weather = await self._stack.enter_async_context(weather_before("127.0.0.1", urlsplit(dsn).port or 5432))
        return weather, {"POSTGRES_DSN": tables.at(dsn, port=weather.port)}

    async def sql(self, *statements: str) -> None:
        """Do something in tableinator's database that the service did not."""
        await tables.run(self.tables.dsn, *statements)

    async def spindle(self, *arguments: str, seconds: float = _STARTING) -> subprocess.CompletedProcess[str]:
        """Run one of the operator's commands."""
        other = {Service.TABLEINATOR: "STATUS_GRAPHINATOR", Service.GRAPHINATOR: "STATUS_TABLEINATOR"}[self.service]
        environment = {
            "PATH": os.environ["PATH"],
            **self.broker.environment,
            **self.side.environment,
            "KINDS": ",".join(self._kinds),
            "RABBITMQ_MANAGEMENT_URL": self.servers.rabbitmq.management_url,
            f"STATUS_{self.service.upper()}": self.running.place,
            other: "none",
        }
        argv = [sys.executable, "-m", "spindle", *arguments]
        process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE)
        try:
            async with asyncio.timeout(seconds):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:  # its situation is over, and the next one must not meet it
                process.kill()
                await process.wait()
        return subprocess.CompletedProcess(argv, process.returncode or 0, out.decode(), err.decode())

    async def advice(self, seconds: int) -> Mapping[str, Any]:
        """What `spindle advise --json` says of the service."""
        done = await self.spindle("advise", "--seconds", str(seconds), "--json", seconds=seconds + _STARTING)
        assert done.stdout, done.stderr
        part: Mapping[str, Any] = json.loads(done.stdout)["services"][str(self.service)]
        return part

    @asynccontextmanager
    async def set(self) -> AsyncIterator[None]:
        """For as long as the block lasts, what is done beside is done; at its end it is ended."""
        async with self._tasks:
            try:
                yield
            finally:
                self._over.set()
                for task in self._started:
                    task.cancel()


@asynccontextmanager
async def stage_of(servers_: Servers, service: Service, folder: Path, number: int) -> AsyncIterator[Stage]:
    """Make one, and clear it away."""
    services = Services(folder)
    async with AsyncExitStack() as stack:
        own = servers.RabbitMQ(servers_.rabbitmq.url, servers_.rabbitmq.management_url)
        broker = Broker(stack.enter_context(servers.vhost_of_this_run(own)).url)
        side: Side
        if service is Service.GRAPHINATOR:
            side = Graph(servers_.neo4j)
        else:
            database = servers.database_of_this_run(servers.Postgres(servers_.postgres.dsn))
            side = Tables(stack.enter_context(database).dsn)
        await broker.declare(service)
        stack.callback(services.end)
        stage = Stage(servers_, side, broker, services, stack, number=number)
        async with stage.set():
            yield stage
