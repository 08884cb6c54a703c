"""Verification against real stores: it agrees with what the sinks wrote, and notices every sort of damage."""

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.delivery import Delivery, Epoch, Properties
from common.kinds import KINDS
from common.pipeline.decoding import decode
from extractor.loads import Load, messages, open_folder
from extractor.synthetic.synthetic import SyntheticLoad
from graphinator.model import node_labelled, node_of
from graphinator.schema import statement_of
from graphinator.store import open_store as open_graph
from spindle.verification.command import exit_code
from spindle.verification.findings import GraphFindings, Verification, as_data
from spindle.verification.showing import passed_over_lines, problem_lines, verdict
from spindle.verification.verifying import verify
from tableinator.store import open_store as open_tables
from tests.integration import graphs, tables
from tests.servers.servers import Neo4j, Postgres

LOAD = SyntheticLoad(300, seed=7)


class Stores:
    """Both stores of one test, and a load in them."""

    def __init__(self, postgres: str, neo4j: Neo4j) -> None:
        self.postgres, self.neo4j = postgres, neo4j
        self.tables = tables.settings(postgres, kinds=KINDS)
        self.graph = graphs.settings(neo4j)

    async def load(self, load: Load) -> None:
        """Write a load through the sinks."""
        async with open_tables(self.tables) as rows, open_graph(self.graph) as nodes:
            for store in (rows, nodes):
                for kind in load.kinds:
                    project: Any = store.projection(kind)
                    read: list[Any] = [decode(delivery, project) for delivery in deliveries(load, kind)]
                    await store.sink(kind).write(read)

    async def verify(self, load: Load = LOAD) -> Verification:
        """Compare."""
        return await verify(
            load, name="a load", postgres=self.tables.postgres, neo4j=self.graph.neo4j, say=lambda _: None
        )

    async def damage_table(self, statement: str) -> None:
        """Run SQL past the service."""
        await tables.run(self.postgres, statement)

    async def damage_graph(self, statement: str) -> None:
        """Run Cypher past the service; it must have found something to damage."""
        assert (await graphs.fetch(self.neo4j, f"{statement} RETURN count(*)"))[0][0] > 0


def deliveries(load: Load, kind: str) -> list[Delivery]:
    """A kind's messages as the broker would deliver them; of one id the last, as the batcher would choose."""
    bodies = {message.id: message.body for message in messages(load, kind)}
    return [Delivery(1, Epoch(1), body, 0.0, load.date, None, 0, Properties) for body in bodies.values()]


@pytest.fixture
async def stores(postgres: Postgres, empty_neo4j: Neo4j) -> AsyncIterator[Stores]:
    """Both stores with the load in them."""
    async with tables.own_schema(postgres.dsn) as dsn:
        stores = Stores(dsn, empty_neo4j)
        await stores.load(LOAD)
        yield stores


def graph_of(found: Verification, kind: str) -> GraphFindings:
    findings = found.of("neo4j", kind)
    assert isinstance(findings, GraphFindings)
    return findings


def problems(found: Verification) -> dict[str, tuple[int, list[str]]]:
    """Everything that is wrong, by store, kind and sort."""
    wrong = {
        f"{part.store} {part.kind} {name}": (finding.count, finding.examples)
        for part in found.stores
        for name, finding in part.problems()
        if finding.count
    }
    beside = {name: (finding.count, finding.examples) for name, finding in found.problems() if finding.count}
    return wrong | beside


async def test_what_the_sinks_wrote_is_verified(stores: Stores) -> None:
    found = await stores.verify()

    assert found.agrees, problems(found)
    assert sum(found.published.values()) == 300
    assert {(part.store, part.kind): part.agreeing for part in found.stores} == {
        (store, kind): found.published[kind] for store in ("postgresql", "neo4j") for kind in KINDS
    }
    assert all(count.expected == count.stored == count.all > 0 for count in found.edges().values())


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE artists SET data = jsonb_set(data, '{name}', '\"X\"') WHERE data_id = '5'", "artists different"),
        ("UPDATE artists SET data = data - 'data_quality' WHERE data_id = '5'", "artists different"),
        ("UPDATE artists SET data = '[]' WHERE data_id = '5'", "artists different"),
        ("DELETE FROM artists WHERE data_id = '5'", "artists missing"),
    ],
    ids=["a changed row", "a row without a field", "a row of another shape", "a missing row"],
)
async def test_damage_to_a_table_is_noticed(stores: Stores, damage: str, problem: str) -> None:
    await stores.damage_table(damage)

    found = await stores.verify()

    assert not found.agrees
    assert problems(found) == {f"postgresql {problem}": (1, ["artists 5"])}


_ON = "releases 3 (:Release)-[:ON]->(:Label)"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("MATCH (r:Release {id: '3'}) SET r.title = 'X'", {"releases different": (1, ["releases 3"])}),
        ("MATCH (r:Release {id: '3'}) SET r.year = 1066", {"releases different": (1, ["releases 3"])}),
        ("MATCH (r:Release {id: '3'}) REMOVE r.title", {"releases different": (1, ["releases 3"])}),
        ("MATCH (:Release {id: '3'})-[e:ON]->() WITH e LIMIT 1 DELETE e", {"releases missing edges": (1, [_ON])}),
        (
            "MATCH (:Release {id: '3'})-[e:ON]->() WITH e LIMIT 1 SET e.catno = 'X'",
            {"releases missing edges": (1, [_ON]), "releases extra edges": (1, [_ON])},
        ),
        (
            "MATCH (:Release {id: '3'})-[e:ON]->() WITH e LIMIT 1 REMOVE e.catno",
            {"releases missing edges": (1, [_ON]), "releases extra edges": (1, [_ON])},
        ),
        (
            "MATCH (r:Release {id: '3'})-[e:ON]->(l) WITH r, e, l LIMIT 1 CREATE (r)-[:ON {catno: e.catno}]->(l)",
            {"releases extra edges": (1, [_ON])},
        ),
        (
            "MATCH (r:Release {id: '3'})-[:ON]->(l) WITH r, l LIMIT 1 CREATE (r)-[:ON]->(l)",
            {"releases extra edges": (1, [_ON])},
        ),
        (
            "MATCH (a:Artist {id: '1'}), (b:Artist {id: '2'}) CREATE (a)-[:MEMBER_OF]->(b)",
            {"artists extra edges": (1, ["artists 1 (:Artist)-[:MEMBER_OF]->(:Artist)"])},
        ),
    ],
    ids=[
        "a changed property",
        "a changed year",
        "a missing property",
        "a missing edge",
        "an edge with another property",
        "an edge without its property",
        "an edge twice",
        "an extra edge without a property",
        "an extra edge",
    ],
)
async def test_damage_to_the_graph_is_noticed(
    stores: Stores, damage: str, problem: dict[str, tuple[int, list[str]]]
) -> None:
    await stores.damage_graph(damage)

    found = await stores.verify()

    assert not found.agrees
    assert problems(found) == {f"neo4j {name}": finding for name, finding in problem.items()}


async def test_a_record_that_is_only_a_stub_is_missing(stores: Stores) -> None:
    await stores.damage_graph("MATCH (l:Label {id: '2'}) REMOVE l.hash")

    found = await stores.verify()

    assert problems(found)["neo4j labels missing"] == (1, ["labels 2"])


async def test_an_edge_of_ours_that_no_record_can_own_is_noticed(stores: Stores) -> None:
    await stores.damage_graph("MATCH (r:Release {id: '3'}) CREATE (r)-[:BY]->(:Artist)")  # to a node without an id

    found = await stores.verify()

    assert problems(found) == {"edges that no record owns": (1, ["(:Release)-[:BY]->()"])}


@pytest.mark.parametrize(
    "theirs",
    [
        "MATCH (r:Release {id: '3'})-[:ON]->(l) WITH r, l LIMIT 1 CREATE (l)-[:ON]->(r)",
        "MATCH (r:Release {id: '3'})-[:ON]->(l) WITH r, l LIMIT 1 CREATE (r)-[:SOLD_BY]->(l)",
        "MATCH (r:Release {id: '3'}) CREATE (:Person {id: '3'})-[:OWNS]->(r)",
        "MATCH (g:Genre) WITH g LIMIT 1 CREATE (:Person {id: '3'})-[:IS]->(g)",
    ],
    ids=["the other way round", "of another type", "of a node of theirs", "of our type from a node of theirs"],
)
async def test_edges_that_users_keep_in_the_graph_are_counted_and_no_failure(stores: Stores, theirs: str) -> None:
    await stores.damage_graph(theirs)
    await stores.damage_graph("MATCH (a:Artist {id: '5'}) SET a:Favourite")

    found = await stores.verify()

    assert found.agrees, problems(found)
    assert found.others_edges == 1
    assert any("1 edges are somebody else's" in line for line in passed_over_lines(found))


async def test_a_node_that_is_there_twice_is_noticed(stores: Stores) -> None:
    """Fault 71: without its constraint two replicas double nodes, and each of the two agrees."""
    await graphs.fetch(stores.neo4j, "DROP CONSTRAINT label_id")
    try:
        await stores.damage_graph("MATCH (l:Label {id: '2'}) CREATE (twin:Label) SET twin = properties(l)")
        await stores.damage_graph("CREATE (:Label {id: 'a stub'}), (:Label {id: 'a stub'})")

        found = await stores.verify()
    finally:
        await graphs.fetch(stores.neo4j, "MATCH (n:Label) DETACH DELETE n")
        await graphs.fetch(stores.neo4j, statement_of(node_of("labels")))

    assert not found.agrees
    assert problems(found) == {"neo4j labels doubled": (2, ["labels 2", "labels a stub"])}
    assert graph_of(found, "labels").agreeing == graph_of(found, "labels").expected


async def test_a_node_that_records_only_lead_to_is_noticed_if_it_is_there_twice(stores: Stores) -> None:
    """Fault 71: each edge leads to one of the two, and agrees by its key."""
    await graphs.fetch(stores.neo4j, "DROP CONSTRAINT genre_name")
    await graphs.fetch(stores.neo4j, "DROP CONSTRAINT style_name")
    try:
        await stores.damage_graph(
            "MATCH (r:Release)-[e:IS]->(g:Genre) WITH r, e, g ORDER BY g.name LIMIT 1 DELETE e "
            "CREATE (r)-[:IS]->(:Genre {name: g.name})"
        )
        await stores.damage_graph("UNWIND range(1, 3) AS i CREATE (:Style {name: 'a stub'})")

        found, artists = await stores.verify(), await stores.verify(replace(LOAD, kinds=("artists",)))
    finally:
        await graphs.fetch(stores.neo4j, "MATCH (n:Genre|Style) DETACH DELETE n")
        for label in ("Genre", "Style"):
            await graphs.fetch(stores.neo4j, statement_of(node_labelled(label)))

    [(count, examples)] = problems(found).values()
    assert (count, len(examples), exit_code(found)) == (3, 2, 1)
    assert examples[0].startswith("Genre ") and examples[1] == "Style a stub"
    assert any("3 doubled nodes: Genre " in line for line in problem_lines(found))
    assert artists.agrees  # leads to none


async def test_another_writers_nodes_beside_ours_are_counted(stores: Stores) -> None:
    """Their keys are numbers, so that no record was ever looked for there."""
    await stores.damage_graph("CREATE (:Artist {id: 5}), (:Artist {id: -7.5}), (:Style {name: 8})")

    found = await stores.verify()

    assert problems(found) == {"nodes with a number as their key": (3, ["Artist -7.5", "Artist 5", "Style 8"])}
    assert exit_code(found) == 1


async def test_records_of_other_loads_are_counted_and_no_failure(stores: Stores) -> None:
    await stores.load(SyntheticLoad(600, seed=8, date=LOAD.date, kinds=("labels",)))
    await stores.load(replace(LOAD, kinds=("labels",)))

    found = await stores.verify()

    assert found.agrees, problems(found)
    assert found.of("postgresql", "labels").others == found.of("neo4j", "labels").others > 0


async def test_a_record_of_a_newer_load_is_not_compared_and_that_is_said(stores: Stores) -> None:
    await stores.damage_table("UPDATE releases SET data = '{}', version = '21260101' WHERE data_id < '2'")
    await stores.damage_graph("MATCH (r:Release) WHERE r.id < '2' SET r.title = 'X', r.load = '21260101'")

    found = await stores.verify()

    table, graph = found.of("postgresql", "releases"), found.of("neo4j", "releases")
    assert found.agrees, problems(found)
    assert 0 < table.newer == graph.newer < 168
    assert table.compared == graph.compared == 168 - table.newer
    assert found.newer == 2 * table.newer
    assert len(list(passed_over_lines(found))) == 2
    assert f"{found.newer:,} passed over" in verdict(found)


async def test_a_kind_of_which_nothing_was_compared_is_not_verified(stores: Stores) -> None:
    await stores.damage_table("UPDATE releases SET data = '{}', version = '21260101'")

    found = await stores.verify()

    assert not found.agrees
    assert exit_code(found) == 1
    assert found.of("postgresql", "releases").compared == 0
    assert "postgresql: no record of releases was compared: all are stored from a newer load" in problem_lines(found)


async def test_a_source_that_ends_too_early_can_not_tell_and_the_other_kinds_are_compared(
    stores: Stores, tmp_path: Path
) -> None:
    for kind in ("artists", "labels"):
        whole = f"<{kind}>" + "".join(
            f"<{kind[:-1]}><id>{number}</id><name>N</name></{kind[:-1]}>" for number in range(9000)
        )
        packed = gzip.compress(f"{whole}</{kind}>".encode())
        packed = packed if kind == "labels" else packed[: len(packed) // 2]
        (tmp_path / f"discogs_20260301_{kind}.xml.gz").write_bytes(packed)

    found = await stores.verify(open_folder(tmp_path))

    assert [part.kind for part in found.stores] == ["labels", "labels"]
    assert [line.partition(":")[0] for line in found.unknown] == ["artists"]
    assert exit_code(found) == 1  # the labels are others
    found.stores.clear()
    assert exit_code(found) == 2


async def test_a_record_of_an_older_load_is_different(stores: Stores) -> None:
    found = await stores.verify(replace(LOAD, seed=8, date="21260101", kinds=("releases",)))

    different = found.of("postgresql", "releases").different
    assert (different.count, len(different.examples)) == (168, 10)
    assert found.of("neo4j", "releases").different.count == 168


async def test_one_kind_can_be_verified_alone(stores: Stores) -> None:
    await stores.damage_graph("MATCH (r:Release {id: '3'}) SET r.title = 'X'")
    await stores.damage_graph("MATCH (:Release {id: '3'})-[e:ON]->() WITH e LIMIT 1 DELETE e")

    found = await stores.verify(replace(LOAD, kinds=("artists",)))

    assert found.agrees, problems(found)
    assert [part.kind for part in found.stores] == ["artists", "artists"]


async def test_a_report_names_ids_and_no_content(stores: Stores) -> None:
    await stores.damage_table("UPDATE artists SET data = jsonb_set(data, '{name}', '\"A secret\"') WHERE data_id = '1'")

    report = json.dumps(as_data(await stores.verify()))

    assert "artists 1" in report
    assert "A secret" not in report
