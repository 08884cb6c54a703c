"""Both stores are backed up, lost and restored as docs/backup.md says, and go on with the next month."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from common.kinds import KINDS, Service
from common.loads import Checked, State
from common.pipeline.decoding import decode
from common.settings.programs import BrokerSettings
from extractor.loads import Load
from extractor.settings import ExtractorSettings
from extractor.synthetic.synthetic import SyntheticLoad
from graphinator.ops.ledger import read_loads as loads_of_graph
from graphinator.ops.ledger import record_check as check_graph
from graphinator.store import open_store as open_graph
from spindle.cli import main
from spindle.reprocessing.reprocess import Wish, reprocess
from tableinator.connections import Connections
from tableinator.ops.ledger import read_loads, record_check
from tableinator.ops.refinement.statements import SCHEMA
from tableinator.ops.removal import TableRemoval
from tableinator.store import open_store
from tests.e2e.broker import Broker
from tests.e2e.services import Services
from tests.e2e.sides import Graph, Tables, problems
from tests.integration import graphs, tables
from tests.integration.manifests import write_manifest
from tests.integration.refined import Site
from tests.integration.test_refine import content, from_scratch
from tests.integration.test_verify import deliveries
from tests.servers import servers
from tests.servers.native import OwnNeo4j

FIRST = SyntheticLoad(300, seed=7)
SECOND = SyntheticLoad(300, seed=7, month=1)
WRITTEN = "releases"
"""The kind that is written while the dump is made."""

_OBJECTS = """
SELECT nspname, relname, relkind::text, relacl::text, CASE relkind WHEN 'v' THEN pg_get_viewdef(pg_class.oid)
    WHEN 'i' THEN pg_get_indexdef(pg_class.oid) END
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname IN ('public', 'discogs')
UNION ALL SELECT nspname, proname, 'function', proacl::text, pg_get_functiondef(pg_proc.oid)
FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace WHERE nspname IN ('public', 'discogs')
ORDER BY 1, 2
"""
_DIGEST = "SELECT count(*), md5(string_agg(each::text, ' ' ORDER BY each::text COLLATE \"C\")) FROM {} AS each"

# A batch and its numbers are one transaction: in any snapshot they agree.
_AGREE = """
SELECT (SELECT count(*) FROM releases) AS stored,
    (SELECT sum(new) FROM spindle_progress WHERE kind = 'releases')::int AS counted,
    (SELECT count(*) FROM releases WHERE version = $1) AS second,
    (SELECT coalesce(sum(new + changed), 0) FROM spindle_progress WHERE kind = 'releases' AND load = $1)::int AS written
"""


class Tool:
    """`pg_dump` and `pg_restore`, as an operator calls them."""

    def __init__(self, file: Path) -> None:
        self._file = str(file)

    async def dump(self, dsn: str) -> None:
        """Into the file."""
        await self._run("pg_dump", "-Fc", "-f", self._file, "-d", dsn)

    async def restore(self, dsn: str) -> None:
        """All of it or nothing."""
        await self._run("pg_restore", "--exit-on-error", "--single-transaction", "-d", dsn, self._file)

    async def _run(self, *command: str) -> None:
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
        if "server version mismatch" in done.stderr:
            pytest.skip(done.stderr)
        assert done.returncode == 0, done.stderr


def plain(dsn: str) -> str:
    """Without TLS, which costs a tenth of a second for every connection."""
    return tables.with_parameter(dsn, "sslmode=disable")


async def objects(dsn: str) -> list[Any]:
    """Every table, view, index and function with who may use it."""
    return [tuple(row) for row in await tables.fetch(dsn, _OBJECTS)]


async def contents(dsn: str) -> dict[str, Any]:
    """What every table holds, but for those that are written meanwhile."""
    names = [f"{schema}.{name}" for schema, name, kind, *_ in await objects(dsn) if kind == "r"]
    meanwhile = (f"public.{WRITTEN}", "public.spindle_progress")
    return {each: tuple((await tables.fetch(dsn, _DIGEST.format(each)))[0]) for each in names if each not in meanwhile}


async def write_until(is_over: Callable[[], bool], dsn: str, load: Load) -> None:
    """Write a load's releases in small batches, again and again; one more batch after it is over."""
    async with open_store(tables.settings(dsn, kinds=KINDS)) as store:
        project: Any = store.projection(WRITTEN)
        found: list[Any] = [decode(each, project) for each in deliveries(load, WRITTEN)]
        ended = False
        while not ended:
            for start in range(0, len(found), 10):
                ended = is_over()
                await store.sink(WRITTEN).write(found[start : start + 10])
                if ended:
                    break


async def fill(site: Site) -> None:
    """A month with all that a database may hold: refined tables, a check, an archive of removed rows, a reader."""
    await site.load(FIRST)
    await site.refine()
    for kind in KINDS:
        await record_check(site.settings, Checked(load=FIRST.date, kind=kind, state=State.COMPLETE))
    async with Connections(site.settings, size=1) as connections:
        assert await TableRemoval(connections, site.settings).remove("artists", FIRST.date, ["1", "2"]) == 2
    await site.run("GRANT SELECT ON artists, discogs.release TO pg_monitor")


# The oldest, which any pg_dump can read.
@pytest.mark.parametrize("each_postgres", ["15"], indirect=True)
async def test_a_database_that_was_dumped_during_a_load_is_restored_and_fills_an_empty_graph(
    each_postgres: servers.Postgres,
    graph: Graph,
    broker: Broker,
    services: Services,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tool = Tool(tmp_path / "spindle.dump")
    with servers.database_of_this_run(each_postgres) as lost:
        before = Site(plain(lost.dsn), SCHEMA)
        await fill(before)
        dumping = asyncio.ensure_future(tool.dump(lost.dsn))
        await write_until(dumping.done, before.dsn, SECOND)
        await dumping
        known = await objects(lost.dsn), await contents(lost.dsn)

    with servers.database_of_this_run(each_postgres) as restored:
        await tool.restore(restored.dsn)
        assert (await objects(restored.dsn), await contents(restored.dsn)) == known
        [[stored, counted, second, written]] = await tables.fetch(restored.dsn, _AGREE, SECOND.date)
        assert (stored, second) == (counted, written)

        # The next month, as if nothing had been; refining compares everything, because the database is another one.
        site, side = Site(plain(restored.dsn), SCHEMA), Tables(plain(restored.dsn))
        await site.load(SECOND)
        assert await problems(side, SECOND) == {}
        await site.refine()
        assert await content(site) == await from_scratch(site)

        # The graph is empty, and so is its ledger: it has the tables for its backup.
        await broker.declare(graph.service)
        running = await services.start(graph.service, broker.environment | graph.environment)
        settings = ExtractorSettings(
            broker=BrokerSettings(url=SecretStr(broker.url)), discogs_exchange_prefix=broker.names.prefix
        )
        for kind in KINDS:
            wish = Wish(kind, Service.GRAPHINATOR)
            assert (await reprocess(wish, settings=settings, postgres=side.settings)).published > 0
        await broker.until_drained(running)

        assert await problems(graph, SECOND) == {}
        assert {each.load for each in await loads_of_graph(graph.settings)} == {FIRST.date, SECOND.date}
        environment = broker.environment | side.environment | graph.environment | {"SPINDLE_STATE": str(tmp_path)}
        for name, value in (environment | {"RABBITMQ_MANAGEMENT_URL": "none"}).items():
            monkeypatch.setenv(name, value)
        for kind in KINDS:
            write_manifest(tmp_path, SECOND, kind)
        await broker.declare(Service.TABLEINATOR)
        assert await asyncio.to_thread(main, ["check", SECOND.date]) == 0
        for found in (await read_loads(side.settings), await loads_of_graph(graph.settings)):
            states = {each.kind: each.state for each in found if each.load == SECOND.date}
            assert states == dict.fromkeys(KINDS, State.COMPLETE)
        new = await graphs.fetch(graph.server, "MATCH (p:SpindleProgress) RETURN sum(p.new)")
        assert new == [[await graph.stored()]]


async def write_graph(graph: Graph, load: Load) -> None:
    """Write a load through the sink."""
    async with open_graph(graphs.settings(graph.server)) as store:
        for kind in load.kinds:
            project: Any = store.projection(kind)
            read: list[Any] = [decode(each, project) for each in deliveries(load, kind)]
            await store.sink(kind).write(read)


async def test_a_graph_that_was_dumped_is_restored_with_its_ledger_and_goes_on(
    own_neo4j: OwnNeo4j, tmp_path: Path
) -> None:
    graph = Graph(own_neo4j)
    first, second = (replace(load, kinds=("artists", "releases")) for load in (FIRST, SECOND))
    await write_graph(graph, first)
    await check_graph(graph.settings, Checked(load=FIRST.date, kind="artists", state=State.COMPLETE, gone=3))
    edges, ledger = await graphs.edges(own_neo4j), await loads_of_graph(graph.settings)

    await own_neo4j.stop()
    await own_neo4j.administer("database", "dump", "neo4j", f"--to-path={tmp_path}")
    for folder in ("databases", "transactions"):
        shutil.rmtree(own_neo4j.data / folder / "neo4j")
    await own_neo4j.administer("database", "load", "neo4j", f"--from-path={tmp_path}", "--overwrite-destination")
    await own_neo4j.start()

    assert await graphs.edges(own_neo4j) == edges
    assert await loads_of_graph(graph.settings) == ledger
    assert len(edges) > 1000
    await write_graph(graph, second)
    assert await problems(graph, second) == {}
