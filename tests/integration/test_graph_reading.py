"""What a verification reads back is what was projected."""

import pytest

from common.errors import StoreUnavailable
from graphinator.model import node_of
from graphinator.ops.reader import StoredRecord, open_reader
from graphinator.projection import GraphRecord
from graphinator.schema import statement_of
from tests.integration.graphs import driver, fetch, opened, record, settings
from tests.servers.servers import Neo4j

RELEASES = [
    record(
        "releases",
        str(number),
        title=f"T {number}",
        released="1999-03-00",
        master_id="77",
        artists=[{"id": "1"}, {"id": str(number)}],
        labels=[{"id": "5", "catno": "C2"}, {"id": "5", "catno": "C1"}, {"id": "50", "catno": ""}],
        extraartists=[{"id": "2", "role": "Producer"}, {"id": "10", "role": "Mixed By"}],
        genres=["Rock"],
        styles=["Ska", "Dub"],
    )
    for number in range(1, 26)
]
RECORDS = {
    "artists": [record("artists", "1", name="A", aliases=[{"id": "3"}, {"id": "20"}], groups=[{"id": "4"}])],
    "labels": [record("labels", "5", name="L", parentLabel={"id": "6"})],
    "masters": [record("masters", "77", title="M", year="1999", artists=[{"id": "1"}], genres=["Rock"])],
    "releases": RELEASES,
}


async def written(server: Neo4j) -> None:
    async with opened(server) as store:
        for kind, records in RECORDS.items():
            await store.sink(kind).write(records)


def comparable(records: list[GraphRecord]) -> dict[str, StoredRecord]:
    return {each.id: StoredRecord(each.id, each.hash, each.version, each.properties, each.edges) for each in records}


@pytest.mark.parametrize("page", [1, 7, 25, 1000])
async def test_every_record_is_read_back_as_it_was_projected(empty_neo4j: Neo4j, page: int) -> None:
    await written(empty_neo4j)

    async with open_reader(settings(empty_neo4j).neo4j) as reader:
        for kind, records in RECORDS.items():
            pages = [found async for found in reader.records(kind, page=page)]
            stored = {each.id: each for found in pages for each in found if each.hash is not None}

            assert stored == comparable(records)
            assert max(map(len, pages)) <= page


async def test_stubs_are_read_as_such(empty_neo4j: Neo4j) -> None:
    await written(empty_neo4j)

    async with open_reader(settings(empty_neo4j).neo4j) as reader:
        stubs = [each async for page in reader.records("labels") for each in page if each.hash is None]

        assert stubs == [
            StoredRecord("50", None, None, [None], [[]]),
            StoredRecord("6", None, None, [None], [[]]),
        ]


async def test_edges_are_counted_by_their_owners_side_and_type(empty_neo4j: Neo4j) -> None:
    await written(empty_neo4j)
    await fetch(empty_neo4j, "CREATE (:Artist {id: 'x'})-[:OF_NO_MODEL]->(:Genre {name: 'y'})")
    await fetch(empty_neo4j, "MATCH (n:Release) SET n:Favourite")

    async with open_reader(settings(empty_neo4j).neo4j) as reader:
        counts = {kind: await reader.edge_counts(kind) for kind in RECORDS}
        everything = await reader.all_edges()

    assert counts == {
        "artists": {("ALIAS_OF", True): 2, ("MEMBER_OF", True): 1},
        "labels": {("SUBLABEL_OF", True): 1},
        "masters": {("BY", True): 1, ("IS", True): 1},
        "releases": {
            ("BY", True): 49,
            ("CREDITED_ON", False): 50,
            ("DERIVED_FROM", True): 25,
            ("IS", True): 75,
            ("ON", True): 75,
        },
    }
    assert everything == 1 + sum(sum(each.values()) for each in counts.values())


async def test_edges_are_counted_without_a_look_at_each(empty_neo4j: Neo4j) -> None:
    """Of 134 million edges too, within any limit."""
    async with driver(empty_neo4j) as direct:
        for statement in (
            "CYPHER 5 MATCH (:Release)-[e:BY]->() RETURN count(e) AS count",
            "CYPHER 5 MATCH (:Release)<-[e:CREDITED_ON]-() RETURN count(e) AS count",
            "CYPHER 5 MATCH ()-[e]->() RETURN count(e) AS count",
        ):
            _, summary, _ = await direct.execute_query("EXPLAIN " + statement)
            assert "RelationshipCountFromCountStore" in str(summary.plan)


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_nodes_with_one_key_are_all_read_and_never_torn_apart(empty_neo4j: Neo4j, page: int) -> None:
    """Fault 71."""
    await fetch(empty_neo4j, "MATCH (n) DETACH DELETE n")
    await fetch(empty_neo4j, "DROP CONSTRAINT label_id IF EXISTS")
    try:
        await fetch(empty_neo4j, "UNWIND ['1', '2', '2', '2', '3', '4', '4'] AS id CREATE (:Label {id: id})")

        async with open_reader(settings(empty_neo4j).neo4j) as reader:
            pages = [[each.id for each in found] async for found in reader.records("labels", page=page)]
    finally:
        empty_neo4j.empty()
        await fetch(empty_neo4j, statement_of(node_of("labels")))

    assert [each for found in pages for each in found] == ["1", "2", "2", "2", "3", "4", "4"]


async def test_an_empty_graph_has_no_pages(empty_neo4j: Neo4j) -> None:
    async with open_reader(settings(empty_neo4j).neo4j) as reader:
        assert [page async for page in reader.records(node_of("artists").kind or "")] == []


async def test_a_server_that_is_away_is_said_to_be() -> None:
    nowhere = Neo4j("bolt://127.0.0.1:1", "neo4j", "a password")

    async with open_reader(settings(nowhere).neo4j) as reader:
        with pytest.raises(StoreUnavailable):
            await reader.all_edges()
