"""`spindle advise` on a real service: with nothing to do, paused, and behind a store that is slow or locked."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from neo4j import AsyncSession, AsyncTransaction

from common.kinds import Service
from common.ops.waits import Wait, Waiting
from extractor.synthetic.synthetic import SyntheticLoad
from graphinator.ops.activity import open_activity
from spindle.advice.evidence import ENOUGH, SEEN
from spindle.advice.findings import Advice, advise
from spindle.advice.limits import Limit
from spindle.advice.meters import Look, meters_of
from spindle.advice.watching import Observer
from tableinator.connections import Connections
from tableinator.ops.activity import open_activity as open_table_activity
from tableinator.sessions import SERVICE as SERVICE_OF_TABLES
from tests.e2e.broker import Broker
from tests.e2e.fixtures import empty_tables, fresh_broker, services_of_a_test  # noqa: F401  (fixtures)
from tests.e2e.services import ROOT, Running, Services
from tests.e2e.sides import Tables
from tests.integration import graphs
from tests.integration import tables as database
from tests.servers import servers

SERVICE = {"app": str(Service.GRAPHINATOR)}

LOAD = SyntheticLoad(20_000, seed=3, kinds=("releases",))
LONG_LOAD = SyntheticLoad(50_000, seed=3, kinds=("releases",))
"""28,000 releases: a command needs many seconds to begin on a busy machine, and they must wait until it has looked."""


class Scene:
    """tableinator with one kind and one writer."""

    def __init__(self, broker: Broker, tables: Tables, running: Running, management: str, folder: Path) -> None:
        self.broker, self.tables, self.running, self.folder = broker, tables, running, folder
        self._environ = {
            "PATH": os.environ["PATH"],
            **broker.environment,
            **tables.environment,
            "KINDS": "releases",
            "RABBITMQ_MANAGEMENT_URL": management,
            "STATUS_GRAPHINATOR": "none",
            "STATUS_TABLEINATOR": running.place,
        }

    async def spindle(self, *arguments: str) -> tuple[int, str]:
        """Run a command as an operator would. Returns: exit code and output."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "spindle", *arguments],
            cwd=ROOT,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout

    async def judged(self) -> Advice:
        """What is found once there is enough to judge by, however long that takes on a busy machine."""
        observer, looks = Observer(self._environ), list[Look]()

        async def look() -> Advice:
            while True:
                looks.append(await observer.look())
                meters = meters_of(looks, Service.TABLEINATOR) if len(looks) > 1 else None
                if meters is not None and meters.records >= ENOUGH and meters.seen >= SEEN:
                    return advise(Service.TABLEINATOR, meters)
                await asyncio.sleep(0.2)

        async with asyncio.timeout(120):
            return await observer.beside(look)

    async def advise(self, *arguments: str, seconds: int = 4) -> tuple[int, Mapping[str, Any]]:
        """What is said of some seconds. Returns: exit code, and the part about tableinator."""
        code, said = await self.spindle("advise", "--seconds", str(seconds), "--json", *arguments)
        part: Mapping[str, Any] = json.loads(said)["services"]["tableinator"]
        return code, part


@pytest.fixture
async def scene(
    rabbitmq: servers.RabbitMQ,
    broker: Broker,
    services: Services,
    tables: Tables,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Scene:
    """A test may give settings of the service as the fixture's parameter."""
    await broker.declare(Service.TABLEINATOR)
    own = {"KINDS": "releases", "POSTGRES_WRITERS": "1", **getattr(request, "param", {})}
    running = await services.start(Service.TABLEINATOR, {**broker.environment, **tables.environment, **own})
    return Scene(broker, tables, running, rabbitmq.management_url or "none", tmp_path)


async def test_a_store_that_is_slow_is_the_limit_while_records_wait(scene: Scene) -> None:
    await database.run(scene.tables.dsn, *database.slowed_by("pg_sleep(0.7)"))
    await scene.broker.publish(LONG_LOAD)
    page = scene.folder / "advice.html"

    code, found = await scene.advise("--html", str(page), seconds=8)

    assert [each["limit"] for each in found["findings"]] == ["store"], found
    [finding] = found["findings"]
    assert code == 1
    assert finding["share"] > 0.9
    assert "PostgreSQL is the limit" in found["verdict"]
    assert "at something else (Timeout PgSleep)" in finding["sentence"]  # what pg_stat_activity says
    assert "PostgreSQL is the limit" in page.read_text()


@pytest.mark.parametrize("scene", [{"POSTGRES_WRITERS": "4"}], indirect=True, ids=["four writers"])
async def test_writers_that_wait_for_one_another_wait_for_locks(scene: Scene) -> None:
    await database.run(scene.tables.dsn, *database.slowed_by("pg_advisory_xact_lock(1), pg_sleep(0.3)"))
    await scene.broker.publish(LOAD)

    found = await scene.judged()

    assert [each.limit for each in found.findings] == [Limit.STORE_LOCKS], found
    assert "Lock advisory" in found.verdict


SMALL = {"POSTGRES_BATCH_SIZE": "5", "POSTGRES_PREFETCH": "15"}


@pytest.mark.parametrize("scene", [SMALL], indirect=True, ids=["a small prefetch"])
async def test_a_small_prefetch_allows_only_small_batches(scene: Scene) -> None:
    await database.run(scene.tables.dsn, *database.slowed_by("pg_sleep(0.02)"))  # a disk that takes 20 ms to commit
    await scene.broker.publish(LOAD)

    found = await scene.judged()

    assert [each.limit for each in found.findings] == [Limit.BATCHES], found
    assert "transactions of 5 records at the most" in found.verdict
    assert "POSTGRES_BATCH_SIZE" in found.findings[0].change


async def test_what_graphinators_transactions_do_is_seen_in_neo4j(neo4j: servers.Neo4j) -> None:
    async with (
        graphs.driver(neo4j) as driver,
        open_activity(graphs.settings(neo4j).neo4j) as activity,
        driver.session(database=neo4j.database) as session,
        driver.session(database=neo4j.database) as other,
    ):
        await (await session.run("MERGE (n:Contended {id: 1}) SET n.at = 0")).consume()
        operator = await other.begin_transaction(metadata={"app": "spindle"})
        await (await operator.run("MATCH (n:Contended) RETURN n")).consume()
        alone = await activity.look(), activity.unseen
        await operator.rollback()
        holding = await session.begin_transaction(metadata=SERVICE)
        await (await holding.run("MATCH (n:Contended) SET n.at = 1")).consume()
        waiting = asyncio.create_task(_write(other))
        async with asyncio.timeout(60):
            while Wait.LOCKS not in (seen := [each.wait for each in await activity.look()]):
                await asyncio.sleep(0.05)
        await holding.rollback()
        await waiting
        await (await session.run("MATCH (n:Contended) DELETE n")).consume()

    assert alone[0] == []
    assert "none was seen" in alone[1]
    assert activity.unseen == ""
    assert sorted(seen) == [Wait.CLIENT, Wait.LOCKS]  # the one that waits, and the one between two statements


async def test_a_login_that_neo4j_refuses_is_tried_once(neo4j: servers.Neo4j) -> None:
    environ = {"NEO4J_URI": neo4j.uri, "NEO4J_USERNAME": neo4j.username, "NEO4J_PASSWORD": "not this one"}
    observer = Observer(environ | {"STATUS_TABLEINATOR": "none"})

    async with asyncio.timeout(30):
        await observer.sample(Service.GRAPHINATOR)  # (it ends)

    assert "refuses the login" in observer.unseen[Service.GRAPHINATOR]
    async with graphs.driver(neo4j) as driver:
        await driver.verify_connectivity()


async def _write(session: AsyncSession) -> None:
    async with await session.begin_transaction(metadata=SERVICE) as transaction:
        await (await transaction.run("MATCH (n:Contended) SET n.at = 2")).consume()
        await transaction.commit()


async def test_what_the_service_itself_does_is_seen_in_neo4j_and_nothing_else_is(neo4j: servers.Neo4j) -> None:
    async with graphs.opened(neo4j) as store, open_activity(graphs.settings(neo4j).neo4j) as activity:

        async def look(transaction: AsyncTransaction) -> list[Waiting]:
            await (await transaction.run("RETURN 1")).consume()
            return await activity.look()

        assert len(await store._transactions.run(look)) == 1
        assert await activity.look() == []


async def test_of_postgresql_only_the_services_sessions_are_counted(tables: Tables) -> None:
    settings = database.settings(tables.dsn).postgres
    async with (
        open_table_activity(settings) as activity,
        Connections(settings, size=1, application=SERVICE_OF_TABLES) as of_service,
        Connections(settings, size=1) as of_operator,
        of_operator.transaction(),
    ):
        beside = await activity.look()
        async with of_service.transaction(), asyncio.timeout(10):
            # PostgreSQL answers before it says what it waits for.
            seen = await activity.look()
            while [each.wait for each in seen] == [Wait.COMPUTES]:
                await asyncio.sleep(0.01)
                seen = await activity.look()

    assert beside == []
    assert [each.wait for each in seen] == [Wait.CLIENT]


async def test_a_login_that_may_not_see_the_services_sessions_says_so(tables: Tables) -> None:
    settings = database.settings(tables.dsn).postgres
    stranger = f"stranger_{uuid4().hex[:8]}"
    await database.run(tables.dsn, f"CREATE ROLE {stranger} LOGIN PASSWORD 'a'")
    try:
        parts = urlsplit(tables.dsn)
        theirs = f"postgresql://{stranger}:a@{parts.hostname}:{parts.port}{parts.path}"
        async with (
            Connections(settings, size=1, application=SERVICE_OF_TABLES) as of_service,
            open_table_activity(database.settings(theirs).postgres) as activity,
            of_service.transaction(),
            Connections(database.settings(theirs).postgres, size=1, application=SERVICE_OF_TABLES) as of_theirs,
            of_theirs.transaction(),
        ):
            # (Of the two, its own; of which it can't see whether a checkpoint runs.)
            assert [each.checkpoint for each in await activity.look()] == [None]
            assert "pg_read_all_stats" in activity.unseen
    finally:
        await database.run(tables.dsn, f"DROP ROLE {stranger}")


async def test_with_nothing_to_do_nothing_is_found_and_a_pause_is(scene: Scene) -> None:
    idle = await scene.advise()
    paused = await scene.spindle("pause", "tableinator", "releases", "--by", "me")
    await scene.running.until(lambda: scene.running.metrics().sum("spindle_paused"), "paused")

    stopped = await scene.advise()

    assert (idle[0], idle[1]["findings"]) == (0, []), idle
    assert paused[0] == 0
    assert (stopped[0], [each["limit"] for each in stopped[1]["findings"]]) == (1, ["stopped"]), stopped
    assert "spindle resume tableinator releases" in stopped[1]["findings"][0]["change"]
