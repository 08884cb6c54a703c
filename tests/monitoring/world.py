"""Both services, their three servers and a Prometheus that scrapes them every second, under a real load."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import yaml

from common.errors import Reason
from common.kinds import Service
from devstack.stack.ports import LOOPBACK, choose
from extractor.synthetic.synthetic import SyntheticLoad
from monitoring.__main__ import HERE
from monitoring.signals import JOBS
from tests.e2e.bad_input import odd_messages
from tests.e2e.broker import Broker
from tests.e2e.services import Running, Services
from tests.e2e.sides import Graph, Side, Tables
from tests.monitoring import prometheus
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.queries import copy_quickened
from tests.servers import servers
from tests.servers.native import NativeRun, OwnPostgres, postgres_at, rabbitmq_at

TIMES = 5
"""How much faster than the rule files their copies run here."""
LOAD = SyntheticLoad(500, seed=11)
NEXT = SyntheticLoad(500, seed=11, month=1)
LITTLE = SyntheticLoad(40, seed=12)
# Not those that a store refuses: finding them by halving takes long, and is no news here.
_BAD = [odd for odd in odd_messages() if not odd.record_id and Reason.REFUSED not in odd.reasons.values()]
BAD = len(_BAD)
_PATIENCE = 120.0  # seconds
_LOOK = 0.2


@dataclass(frozen=True, slots=True)
class World:
    """Everything that runs."""

    broker: Broker
    management: servers.RabbitMQ
    postgres: OwnPostgres
    sides: Mapping[Service, Side]
    services: Services
    running: dict[Service, Running]
    ports: Mapping[str, int]
    prometheus: Prometheus

    async def start(self, service: Service) -> None:
        """Start a service where Prometheus looks for it."""
        port = {"METRICS_PORT": str(self.ports[service])}
        environment = self.broker.environment | self.sides[service].environment | port
        self.running[service] = await self.services.start(service, environment)

    async def load(self) -> None:
        """Publish records, many of them twice, with some that can't be stored, and cut all connections in between."""
        await self._published(LOAD, bad=True)
        self._cut()
        await self._published(LOAD)
        await self._published(NEXT)

    @asynccontextmanager
    async def trickle(self) -> AsyncIterator[None]:
        """Publish a little again and again, so that what looks back over seconds finds something at any time."""

        async def publish() -> None:
            while True:
                await self.broker.publish(LITTLE)
                await asyncio.sleep(1.0)

        publishing = asyncio.create_task(publish(), name="trickle")
        try:
            yield
        finally:
            publishing.cancel()
            with suppress(asyncio.CancelledError):
                await publishing

    async def until(self, fact: Callable[[], Any], what: Callable[[], str]) -> None:
        """Look again and again whether Prometheus has seen something."""
        deadline = time.monotonic() + _PATIENCE
        while not await asyncio.to_thread(fact):
            assert time.monotonic() < deadline, f"not {what()} within {_PATIENCE:g} s; {self.prometheus.alerts()}"
            await asyncio.sleep(_LOOK)

    async def until_alert(self, name: str, *, firing: bool) -> None:
        """Wait until an alert fires, or does no longer."""
        state = "firing" if firing else "resolved"
        await self.until(
            lambda: ("firing" in self.prometheus.alerts().get(name, ())) is firing, lambda: f"{name} {state}"
        )

    def _cut(self) -> None:
        for connection in self.management.api("GET", "connections"):
            with suppress(HTTPError):  # it has gone by itself
                self.management.api("DELETE", f"connections/{quote(connection['name'], safe='')}")

    async def _published(self, load: SyntheticLoad, *, bad: bool = False) -> None:
        extra: dict[str, list[bytes]] = {}
        for odd in _BAD if bad else ():
            extra.setdefault(odd.kind, []).append(odd.body)
        await self.broker.publish(load, extra=extra)
        for running in self.running.values():
            await self.broker.until_drained(running)


@asynccontextmanager
async def watched(run: NativeRun, neo4j: servers.Neo4j, folder: Path) -> AsyncIterator[World]:
    """Start it all; the servers end with the run, everything else here."""
    stack = run.stack("monitoring")
    await asyncio.to_thread(stack.up, {"rabbitmq", "postgres"})
    place, member = stack.member("rabbitmq").place, stack.member("postgres")
    ports = choose(Service) | {"rabbitmq": place.ports["prometheus"]}
    services = Services(folder)
    neo4j.empty()
    with (
        servers.vhost_of_this_run(rabbitmq_at(place)) as vhost,
        servers.database_of_this_run(postgres_at(member.place)) as database,
        prometheus.running(configuration(folder, ports)) as server,
    ):
        sides: Mapping[Service, Side] = {
            Service.TABLEINATOR: Tables(database.dsn),
            Service.GRAPHINATOR: Graph(neo4j),
        }
        own = OwnPostgres(member, database)
        world = World(Broker(vhost.url), vhost, own, sides, services, {}, ports, server)
        try:
            async with asyncio.TaskGroup() as starts:
                for service in Service:
                    starts.create_task(world.start(service))
            await world.until(lambda: server.query(f"sum(up) == {len(JOBS)}"), lambda: f"scraped: {server.unhealthy()}")
            yield world
        finally:
            services.end()


def configuration(folder: Path, ports: Mapping[str, int]) -> Path:
    """Write the configuration of monitoring/, but with these ports for addresses, and a scrape every second."""
    there = folder / "prometheus"
    (there / "rules").mkdir(mode=0o755, parents=True)
    there.chmod(0o755)  # a container's user is another
    copy_quickened(there / "rules", TIMES)
    content = yaml.safe_load((HERE / "prometheus.yml").read_text())
    content["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    content["rule_files"] = ["rules/*.yml"]
    del content["alerting"]
    jobs = {job["job_name"]: job for job in content["scrape_configs"]}
    content["scrape_configs"] = [_job(jobs[name], ports[name.partition("-")[0]]) for name in JOBS]
    path = there / "prometheus.yml"
    path.write_text(yaml.safe_dump(content))
    return path


def _job(job: Mapping[str, Any], port: int) -> dict[str, Any]:
    kept = {name: value for name, value in job.items() if not name.endswith("sd_configs")}
    return kept | {"static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}
