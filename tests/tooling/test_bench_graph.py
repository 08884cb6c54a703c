"""The bench's arms of the graph, and its peers, on the real servers: each stores what was published, and is checked."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from neo4j.exceptions import Neo4jError

from bench.arms import Arm, WrongStore
from bench.graph_arms import REPEATS
from bench.graph_arms import cold_arms as graph_arms
from bench.graph_direct import LoadCsv, LoadCsvFiles, Merging
from bench.graph_records import Carried
from bench.graph_store import Graph, GraphCourse
from bench.peers import bento_program, mq_bridge_program
from bench.peers.table_arms import arms as peer_arms
from bench.records import load_of, releases, with_changes
from bench.stage import Stage
from tests.servers.servers import Neo4j, Postgres, RabbitMQ

COUNT = 1_000
LOAD = load_of(COUNT, seed=5)
RELEASES = releases(LOAD, COUNT)

MakeStage = Callable[..., Stage]


class Spans:
    """A watch that counts."""

    started = stopped = 0

    def start(self) -> None:
        self.started += 1

    def stop(self) -> None:
        assert self.started == self.stopped + 1
        self.stopped += 1


@pytest.fixture
def make_stage(tmp_path: Path) -> MakeStage:
    def make(graph: Neo4j | None = None, broker: RabbitMQ | None = None, tables: Postgres | None = None) -> Stage:
        return Stage(
            rabbitmq_url=broker.url if broker else "",
            management_url="",
            postgres_dsn=tables.dsn if tables else "",
            neo4j_uri=graph.uri if graph else "",
            neo4j_username=graph.username if graph else "",
            neo4j_password=graph.password if graph else "",
            neo4j_database=graph.database if graph else "",
            folder=tmp_path,
            load=LOAD,
            releases=RELEASES,
            changed=with_changes(RELEASES),
            graph_records=COUNT,
        )

    return make


@pytest.fixture
def stage(make_stage: MakeStage, empty_neo4j: Neo4j) -> Stage:
    """With the graph only."""
    return make_stage(empty_neo4j)


async def carry(arm: Arm) -> int:
    """Run an arm as a round does. Returns: how many records it counted."""
    watch = Spans()
    try:
        await arm.prepare()
        run = await arm.run(watch)
        await arm.check()
    finally:
        await arm.end()
    assert watch.stopped == 1
    return run.records


@pytest.mark.parametrize("size", [1, 50])
async def test_merging_makes_the_graph_of_the_records(stage: Stage, size: int) -> None:
    carried = Carried(RELEASES[:60])

    assert await carry(Merging("merging", stage, carried, size=size)) == 60


@pytest.mark.parametrize("way", [LoadCsv, LoadCsvFiles])
async def test_load_csv_makes_the_graph_of_the_records(stage: Stage, way: type[LoadCsv | LoadCsvFiles]) -> None:
    stage.folder.chmod(0o755)
    try:
        assert await carry(way("csv", stage, Carried(RELEASES[:300]))) == 300
    except Neo4jError as error:
        if "Couldn't load the external resource" in str(error) or "Cannot load from URL" in str(error):
            pytest.skip("this Neo4j does not read this machine's files")
        raise


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("MATCH (:Release {id: '1'})-[e:ON]->() WITH e LIMIT 1 DELETE e", "edges are"),
        ("CREATE (:Artist {id: 'nobody'})", "nodes are"),
        ("MATCH (n:Release {id: '1'}) SET n.title = 'another'", "release 1 is"),
        ("MATCH (n:Release {id: '1'}) SET n.hash = 'another'", "release 1 is"),
        (
            "MATCH (n:Release {id: '1'})-[e:BY]->(a) WITH n, e, a LIMIT 1"
            " MATCH (b:Artist) WHERE b <> a WITH n, e, b LIMIT 1 CREATE (n)-[:BY]->(b) DELETE e",
            "release 1 has the edges",
        ),
    ],
)
async def test_a_graph_that_differs_is_noticed(stage: Stage, damage: str, said: str) -> None:
    carried, graph = Carried(RELEASES[:40]), Graph(stage)
    await graph.empty()
    await graph.fill(carried.messages, load=LOAD.date)
    await graph.compare(carried)

    await graph.ask(damage)

    with pytest.raises(WrongStore, match=said):
        await graph.compare(carried)
    await graph.close()


async def test_a_race_in_the_graph_ends_with_the_last_record(stage: Stage) -> None:
    messages, graph = RELEASES[:40], Graph(stage)
    await graph.empty()
    counted = GraphCourse(graph, messages, start=10)
    marked = GraphCourse(graph, messages, start=10, counted=False)

    await graph.fill(messages[:10], load=LOAD.date)
    before = [await counted.passed_start(), await marked.passed_start()]
    await graph.fill(messages[:-1], load=LOAD.date)
    begun = [await counted.passed_start(), await marked.passed_start()]
    unfinished = [await counted.passed_finish(), await marked.passed_finish()]
    await graph.fill(messages, load=LOAD.date)

    assert (before, begun, unfinished) == ([None, None], [39, 11], [None, None])
    assert await counted.passed_finish() and await marked.passed_finish()
    await graph.close()


@pytest.fixture(autouse=True)
def no_peer_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores take four minutes for Bento, and mq-bridge is 40 MB: tests take those that are there."""
    monkeypatch.setattr(bento_program, "is_here", lambda: bento_program.program().exists())
    monkeypatch.setattr(mq_bridge_program, "is_here", lambda: mq_bridge_program.folder().exists())


@pytest.mark.parametrize("name", ["graph_new", "graph_unchanged", "graph_changed", "graph_bento"])
async def test_a_consumer_brings_the_graph_to_what_was_published(
    make_stage: MakeStage, empty_neo4j: Neo4j, rabbitmq: RabbitMQ, name: str
) -> None:
    if name == "graph_bento" and not bento_program.program().exists():
        pytest.skip("no Bento has been built on this machine: make bench does, in four minutes")
    arm = next(arm for arm in graph_arms(make_stage(empty_neo4j, rabbitmq)) if arm.name == name)

    brought = COUNT * (REPEATS if name == "graph_unchanged" else 1)
    assert 0 < await carry(arm) < brought


@pytest.mark.parametrize("name", ["tables_per_message", "tables_bento", "tables_mq_bridge"])
async def test_a_peer_fills_the_table_with_what_was_published(
    make_stage: MakeStage, postgres: Postgres, rabbitmq: RabbitMQ, name: str
) -> None:
    if name == "tables_bento" and not bento_program.program().exists():
        pytest.skip("no Bento has been built on this machine: make bench does, in four minutes")
    if name == "tables_mq_bridge" and not mq_bridge_program.folder().exists():
        pytest.skip("no mq-bridge has been installed on this machine: make bench does")
    arm = next(arm for arm in peer_arms(make_stage(None, rabbitmq, postgres)) if arm.name == name)

    async with asyncio.timeout(60.0):
        assert 0 <= await carry(arm) < COUNT  # a quick peer may be done before it is first looked at
