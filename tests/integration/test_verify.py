"""Verification against real stores: it agrees with what the sinks wrote, and notices every sort of damage."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from common.delivery import Delivery, Epoch, Properties
from common.kinds import KINDS
from common.pipeline.decoding import decode
from extractor.loads import Load, messages
from extractor.synthetic.synthetic import SyntheticLoad
from graphinator.store import open_store as open_graph
from spindle.verification.findings import GraphFindings, Verification, as_data
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
    if found.unowned_edges.count:
        wrong["unowned"] = (found.unowned_edges.count, found.unowned_edges.examples)
    return wrong


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


@pytest.mark.parametrize(
    "damage",
    [
        "MATCH (r:Release {id: '3'})-[:ON]->(l) WITH r, l LIMIT 1 CREATE (l)-[:ON]->(r)",
        "MATCH (r:Release {id: '3'})-[:ON]->(l) WITH r, l LIMIT 1 CREATE (r)-[:SOLD_BY]->(l)",
        "MATCH (r:Release {id: '3'}) CREATE (r)-[:BY]->(:Artist)",
    ],
    ids=["the wrong way round", "of an unknown type", "to a node without an id"],
)
async def test_an_edge_that_no_record_can_own_is_noticed(stores: Stores, damage: str) -> None:
    await stores.damage_graph(damage)

    found = await stores.verify()

    assert found.unowned_edges.count == 1


async def test_records_of_other_loads_are_counted_and_no_failure(stores: Stores) -> None:
    await stores.load(SyntheticLoad(600, seed=8, date=LOAD.date, kinds=("labels",)))
    await stores.load(replace(LOAD, kinds=("labels",)))

    found = await stores.verify()

    assert found.agrees, problems(found)
    assert found.of("postgresql", "labels").others == found.of("neo4j", "labels").others > 0


async def test_a_record_of_a_newer_load_is_not_compared(stores: Stores) -> None:
    await stores.load(replace(LOAD, seed=8, date="21260101", kinds=("releases",)))

    found = await stores.verify()

    assert found.agrees, problems(found)
    assert found.of("postgresql", "releases").newer == found.of("neo4j", "releases").newer == 168


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
