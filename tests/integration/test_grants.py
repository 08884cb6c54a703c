"""The real programs with the shipped logins alone, from the first start to the dead letters; and Neo4j's logins."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from neo4j.exceptions import Neo4jError

from common.kinds import Service
from tests.e2e.broker import Broker
from tests.e2e.fixtures import fresh_broker, services_of_a_test  # noqa: F401  (fixtures)
from tests.e2e.services import ROOT, Running, Services
from tests.integration import graphs, tables
from tests.integration.test_grants_postgresql import granted
from tests.servers import grants, servers
from tests.servers.amqp import peer_of
from tests.servers.grants import Logins

RECORDS = 100
STORES = {Service.GRAPHINATOR: "graph", Service.TABLEINATOR: "tables_"}
"""What `Scene.environment` calls each service's store."""


@dataclass(frozen=True, slots=True)
class Scene:
    """All three servers with the shipped logins, and nothing made on them yet."""

    broker: Broker
    server: servers.RabbitMQ
    database: str
    graph: servers.Neo4j
    logins: Logins

    def environment(self, *, broker: str, tables_: str = "", graph: str = "", places: str = "") -> dict[str, str]:
        """What leads a program here, with these roles."""
        environ = {
            **self.broker.environment,
            "RABBITMQ_URL": self.logins.url(self.server, broker),
            "RABBITMQ_MANAGEMENT_URL": self.server.management_url,
        }
        if tables_:
            parts = urlsplit(self.database)
            login = f"{self.logins.of(tables_)}:{grants.PASSWORD}"
            environ["POSTGRES_DSN"] = tables.at(self.database, port=parts.port, host=parts.hostname or "", login=login)
        if graph:
            environ |= {"NEO4J_URI": self.graph.uri, "NEO4J_USERNAME": self.logins.of(graph)}
            environ["NEO4J_PASSWORD"] = grants.PASSWORD
        if places:
            environ |= dict(zip(("STATUS_GRAPHINATOR", "STATUS_TABLEINATOR"), places.split(","), strict=True))
        return environ

    async def run(self, *command: str, **roles: str) -> tuple[int, Any]:
        """Run a program to its end. Returns: its exit code, and what it said as JSON."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", *command, "--json"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **self.environment(**roles)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
async def scene(
    broker: Broker, rabbitmq: servers.RabbitMQ, postgres: servers.Postgres, empty_neo4j: servers.Neo4j
) -> AsyncIterator[Scene]:
    """Servers on which an administrator has run what is shipped, and no more."""
    if not rabbitmq.management_url:
        pytest.skip("needs RabbitMQ's management API, to make users")
    server = replace(rabbitmq, url=broker.url)
    async with granted(postgres) as desk:
        grants.add_users(server, desk.logins)
        grants.grant(server, desk.logins, grants.permissions(broker.names))
        await _administer(empty_neo4j, *grants.neo4j(desk.logins))
        yield Scene(broker, server, desk.admin, empty_neo4j, desk.logins)
        await _administer(empty_neo4j, *_drops(grants.neo4j(desk.logins)))
        grants.remove_users(server, desk.logins)


def _drops(creations: Sequence[str]) -> list[str]:
    return [f"DROP USER {statement.split()[2]}" for statement in creations]


async def _administer(server: servers.Neo4j, *statements: str) -> None:
    passwords = dict.fromkeys(("setup", "graphinator", "operator", "remover"), grants.PASSWORD)
    async with graphs.driver(server) as driver, driver.session(database="system") as session:
        for statement in statements:
            await (await session.run(statement, passwords)).consume()


async def _running(scene: Scene, services: Services, *, broker: str, stores: Mapping[Service, str]) -> list[Running]:
    started = [
        services.launch(service, scene.environment(broker=broker, **{STORES[service]: role}))
        for service, role in stores.items()
    ]
    for running in started:
        await running.until_ready()
    return started


async def test_every_program_does_its_work_with_the_shipped_logins_alone(scene: Scene, services: Services) -> None:
    # The first start makes queues, tables and constraints; no login that may make anything is used after it.
    for running in await _running(scene, services, broker="setup", stores=dict.fromkeys(STORES, "setup")):
        assert (await running.stop())[0] == 0
    both = await _running(scene, services, broker="services", stores={each: each.value for each in STORES})
    stores = {"tables_": "tableinator", "graph": "graphinator"}
    async with asyncio.TaskGroup() as group:
        doctors = [
            group.create_task(scene.run("spindle", "doctor", "--login-of", login_of, broker=login_of, **stores_))
            for login_of, stores_ in (("services", stores), ("extractor", {}))
        ]

    # A load, and two messages that nobody can store.
    published = await scene.run("extractor", "--synthetic", f"{RECORDS}", broker="extractor")
    async with peer_of(scene.broker.url) as peer:
        await peer.publish(scene.broker.names.exchange("labels"), b"{", b"[")
    for running in both:
        await running.until_settled(RECORDS + 2)
    letters = {"broker": "operator", "tables_": "operator", "graph": "operator"}
    replayed = await scene.run("spindle", "dead-letters", "replay", "--all", **letters)
    for running in both:
        await running.until_settled(RECORDS + 4)
    again = await scene.run("spindle", "dead-letters", "list", "--replayed", **letters)
    dropped = await scene.run("spindle", "dead-letters", "drop", "--all", "--yes", **letters)
    verified = await scene.run("spindle", "verify", "--synthetic", f"{RECORDS}", **letters)
    status = await scene.run("spindle", "status", broker="monitoring", places=",".join(each.place for each in both))

    assert [_failed(doctor.result()[1]) for doctor in doctors] == [[], []]
    assert [doctor.result()[0] for doctor in doctors] == [0, 0]
    assert published[0] == 0
    assert replayed[1]["replayed"] == again[1]["letters"] == dropped[1]["dropped"] == 4
    assert replayed[1]["newest_load"] == "20000101"  # which only the stores can tell
    assert verified[0] == 0
    assert (status[0], status[1]["broker"]["asked_by"]) == (0, ["amqp", "management"])


def _failed(report: dict[str, Any]) -> list[Any]:
    return [check for check in report["checks"] if check["state"] in ("warning", "failed")]


async def test_neo4j_can_read_every_line_that_is_for_its_enterprise_edition(neo4j: servers.Neo4j) -> None:
    statements = grants.neo4j_enterprise(Logins("nobody_"))
    components = await graphs.fetch(
        neo4j, "CALL dbms.components() YIELD name, edition WHERE name = 'Neo4j Kernel' RETURN edition"
    )
    if components != [["community"]]:
        pytest.skip("an enterprise edition: it would do what they say")

    said = []
    for statement in statements:
        with pytest.raises(Neo4jError) as caught:
            await _administer(neo4j, statement)
        said.append((statement, caught.value.code))

    # A line with a mistake in it is a SyntaxError.
    assert said == [(each, "Neo.ClientError.Statement.UnsupportedAdministrationCommand") for each in statements]
    assert len(said) > 10
