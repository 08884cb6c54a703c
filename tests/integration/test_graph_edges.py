"""What a record makes of the graph: its node, its edges, and nobody else's."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common.outcomes import Outcomes
from graphinator.projection import GraphRecord, stored_hash
from graphinator.store import GraphStore
from tests.integration.graphs import edges, fetch, nodes, opened, record
from tests.servers.servers import Neo4j

RELEASE: dict[str, Any] = {
    "title": "A title",
    "country": "UK",
    "released": "1999-03-00",
    "master_id": "77",
    "artists": [{"id": "1", "name": "A"}, {"id": "1", "name": "A", "anv": "a"}, {"id": "194", "name": "Various"}],
    "labels": [{"id": "5", "catno": "C1"}, {"id": "5", "catno": "C2"}, {"id": "5", "catno": "C1"}],
    "extraartists": [
        {"id": "2", "role": "Producer"},
        {"id": "2", "role": "Written-By, Producer"},
        {"id": "2", "role": "Producer"},
        {"name": "nobody", "role": "Producer"},
        {"id": "0", "role": "Producer"},
    ],
    "genres": ["Rock", "Pop"],
    "styles": ["Ska"],
}
RELEASE_EDGES = [
    "Artist 2 -CREDITED_ON {role: Producer}-> Release 10",
    "Artist 2 -CREDITED_ON {role: Written-By, Producer}-> Release 10",
    "Release 10 -BY-> Artist 1",
    "Release 10 -BY-> Artist 194",
    "Release 10 -DERIVED_FROM-> Master 77",
    "Release 10 -IS-> Genre Pop",
    "Release 10 -IS-> Genre Rock",
    "Release 10 -IS-> Style Ska",
    "Release 10 -ON {catno: C1}-> Label 5",
    "Release 10 -ON {catno: C2}-> Label 5",
]


@pytest.fixture
async def store(empty_neo4j: Neo4j) -> AsyncIterator[GraphStore]:
    async with opened(empty_neo4j) as opened_store:
        yield opened_store


async def write(store: GraphStore, kind: str, *records: GraphRecord) -> Outcomes:
    return await store.sink(kind).write(records)


# Every edge of the model


async def test_a_release_has_its_node_and_each_of_its_edges_once(store: GraphStore, empty_neo4j: Neo4j) -> None:
    """Fault 54."""
    release = record("releases", "10", **RELEASE)

    await write(store, "releases", release)

    assert await edges(empty_neo4j) == RELEASE_EDGES
    assert await nodes(empty_neo4j, "Release") == {
        "10": {
            "id": "10",
            "title": "A title",
            "country": "UK",
            "released": "1999-03-00",
            "year": 1999,
            "hash": release.hash,
            "load": "20250201",
        }
    }


async def test_a_master_has_its_node_and_its_edges(store: GraphStore, empty_neo4j: Neo4j) -> None:
    master = record("masters", "7", title="T", year="0", artists=[{"id": "1"}], genres=["Rock"], styles=["Ska"])

    await write(store, "masters", master)

    assert await edges(empty_neo4j) == [
        "Master 7 -BY-> Artist 1",
        "Master 7 -IS-> Genre Rock",
        "Master 7 -IS-> Style Ska",
    ]
    assert await nodes(empty_neo4j, "Master") == {
        "7": {"id": "7", "title": "T", "hash": master.hash, "load": "20250201"}
    }


async def test_an_artist_is_member_and_alias_and_its_mirrored_members_are_not_written(
    store: GraphStore, empty_neo4j: Neo4j
) -> None:
    artist = record("artists", "1", name="N", groups=[{"id": "2"}], aliases=[{"id": "3"}], members=[{"id": "4"}])

    await write(store, "artists", artist)

    assert await edges(empty_neo4j) == ["Artist 1 -ALIAS_OF-> Artist 3", "Artist 1 -MEMBER_OF-> Artist 2"]
    assert set(await nodes(empty_neo4j, "Artist")) == {"1", "2", "3"}


async def test_a_label_has_its_parent_and_its_mirrored_sublabels_are_not_written(
    store: GraphStore, empty_neo4j: Neo4j
) -> None:
    label = record("labels", "1", name="N", parentLabel={"id": "2", "name": "P"}, sublabels=[{"id": "3"}])

    await write(store, "labels", label)

    assert await edges(empty_neo4j) == ["Label 1 -SUBLABEL_OF-> Label 2"]


async def test_a_record_that_names_itself_has_an_edge_to_itself(store: GraphStore, empty_neo4j: Neo4j) -> None:
    await write(store, "artists", record("artists", "1", aliases=[{"id": "1"}, {"id": "2"}]))
    await write(store, "artists", record("artists", "1", name="changed", aliases=[{"id": "1"}]))

    assert await edges(empty_neo4j) == ["Artist 1 -ALIAS_OF-> Artist 1"]


@pytest.mark.parametrize("nothing", ["0", "", None])
async def test_no_master_is_no_node(store: GraphStore, empty_neo4j: Neo4j, nothing: str | None) -> None:
    """Fault 60."""
    await write(store, "releases", record("releases", "1", title="T", master_id=nothing))

    assert await nodes(empty_neo4j, "Master") == {}


# Changed records


async def test_a_changed_record_has_exactly_its_new_edges_and_touches_no_others(
    store: GraphStore, empty_neo4j: Neo4j
) -> None:
    """Fault 53."""
    others = [
        record("releases", "11", **RELEASE),
        record("releases", "12", title="T", extraartists=[{"id": "1", "role": "Producer"}]),
    ]
    await write(store, "releases", record("releases", "10", **RELEASE), *others)
    await write(store, "artists", record("artists", "1", aliases=[{"id": "2"}], groups=[{"id": "3"}]))
    await write(store, "masters", record("masters", "77", artists=[{"id": "1"}], genres=["Rock"]))
    before = await edges(empty_neo4j)
    changed = RELEASE | {
        "genres": ["Rock"],
        "styles": [],
        "master_id": "0",
        "labels": [{"id": "6", "catno": "C1"}],
        "extraartists": [{"id": "2", "role": "Mixed By"}],
        "artists": [{"id": "3"}],
    }

    assert await write(store, "releases", record("releases", "10", **changed)) == Outcomes(changed=1)

    after = await edges(empty_neo4j)
    assert [edge for edge in after if "Release 10" in edge] == [
        "Artist 2 -CREDITED_ON {role: Mixed By}-> Release 10",
        "Release 10 -BY-> Artist 3",
        "Release 10 -IS-> Genre Rock",
        "Release 10 -ON {catno: C1}-> Label 6",
    ]
    assert [edge for edge in after if "Release 10" not in edge] == [edge for edge in before if "Release 10" not in edge]


async def test_a_changed_artist_keeps_the_edges_that_others_own(store: GraphStore, empty_neo4j: Neo4j) -> None:
    await write(store, "releases", record("releases", "10", **RELEASE))
    await write(
        store,
        "artists",
        record("artists", "1", aliases=[{"id": "2"}]),
        record("artists", "2", aliases=[{"id": "1"}], groups=[{"id": "1"}]),
    )

    await write(store, "artists", record("artists", "1", name="changed"))

    assert await edges(empty_neo4j) == sorted(
        [*RELEASE_EDGES, "Artist 2 -ALIAS_OF-> Artist 1", "Artist 2 -MEMBER_OF-> Artist 1"]
    )


async def test_a_property_that_is_no_longer_in_the_record_goes(store: GraphStore, empty_neo4j: Neo4j) -> None:
    """Fault 54."""
    await write(store, "releases", record("releases", "1", title="T", country="UK", released="1999"))
    await fetch(empty_neo4j, "MATCH (n:Release) SET n.of_an_older_model = true")

    await write(store, "releases", record("releases", "1", title="U", released="????"))

    stored = (await nodes(empty_neo4j, "Release"))["1"]
    assert stored.keys() == {"id", "title", "released", "hash", "load"}


# Stubs


async def test_references_that_have_not_arrived_are_stubs_with_only_a_key(
    store: GraphStore, empty_neo4j: Neo4j
) -> None:
    """Fault 38."""
    await write(store, "releases", record("releases", "10", **RELEASE))

    assert await nodes(empty_neo4j, "Artist") == {key: {"id": key} for key in ("1", "2", "194")}
    assert await nodes(empty_neo4j, "Master") == {"77": {"id": "77"}}
    assert await nodes(empty_neo4j, "Genre") == {key: {"name": key} for key in ("Pop", "Rock")}


@pytest.mark.parametrize("first", ["releases", "masters", "artists", "labels"])
async def test_in_any_order_of_arrival_the_graph_is_the_same(store: GraphStore, empty_neo4j: Neo4j, first: str) -> None:
    """Fault 38."""
    records = {
        "artists": record("artists", "1", name="A", aliases=[{"id": "2"}]),
        "labels": record("labels", "5", name="L", parentLabel={"id": "6"}),
        "masters": record("masters", "77", title="M", artists=[{"id": "1"}]),
        "releases": record("releases", "10", **RELEASE),
    }
    order = sorted(records, key=lambda kind: (kind != first, kind))

    outcomes = [await write(store, kind, records[kind]) for kind in order]

    assert outcomes == [Outcomes(new=1)] * 4  # a stub that is filled is new
    assert await edges(empty_neo4j) == sorted(
        [
            *RELEASE_EDGES,
            "Artist 1 -ALIAS_OF-> Artist 2",
            "Label 5 -SUBLABEL_OF-> Label 6",
            "Master 77 -BY-> Artist 1",
        ]
    )
    assert (await nodes(empty_neo4j, "Artist"))["1"]["name"] == "A"


async def test_records_of_one_batch_may_refer_to_each_other(store: GraphStore, empty_neo4j: Neo4j) -> None:
    one = record("artists", "1", name="one", aliases=[{"id": "2"}])
    two = record("artists", "2", name="two", aliases=[{"id": "1"}], groups=[{"id": "3"}])
    three = record("artists", "3", name="three")

    assert await write(store, "artists", two, three, one) == Outcomes(new=3)

    assert await edges(empty_neo4j) == [
        "Artist 1 -ALIAS_OF-> Artist 2",
        "Artist 2 -ALIAS_OF-> Artist 1",
        "Artist 2 -MEMBER_OF-> Artist 3",
    ]


# Hashes


async def last_transaction(server: Neo4j) -> int:
    """The number of the last transaction that wrote anything."""
    rows = await fetch(server, "SHOW DATABASES YIELD name, lastCommittedTxn WHERE name = $name", name=server.database)
    number: int = rows[0][1]
    return number


async def test_an_unchanged_replay_writes_nothing(store: GraphStore, empty_neo4j: Neo4j) -> None:
    batch = [record("releases", str(number), **RELEASE) for number in range(20)]
    await write(store, "releases", *batch)
    before = await last_transaction(empty_neo4j)

    outcomes = await write(store, "releases", *batch)

    assert outcomes == Outcomes(unchanged=20)
    assert await last_transaction(empty_neo4j) == before


async def test_another_version_of_the_model_rewrites(store: GraphStore, empty_neo4j: Neo4j) -> None:
    """Fault 57."""
    artist = record("artists", "1", name="N")
    await write(store, "artists", artist)
    next_model = GraphRecord(
        "1", stored_hash("a hash", model_version=2), artist.version, artist.properties, [["2"], []]
    )

    assert await write(store, "artists", next_model) == Outcomes(changed=1)

    assert await edges(empty_neo4j) == ["Artist 1 -ALIAS_OF-> Artist 2"]


async def test_a_rewritten_record_has_its_edges_once(store: GraphStore, empty_neo4j: Neo4j) -> None:
    release = record("releases", "10", **RELEASE)
    await write(store, "releases", release)

    assert await store.sink("releases").rewrite(release)

    assert await edges(empty_neo4j) == RELEASE_EDGES


async def test_a_probe_leaves_neither_edges_nor_stubs(store: GraphStore, empty_neo4j: Neo4j) -> None:
    await store.sink("releases").probe(record("releases", "10", **RELEASE))

    assert await fetch(empty_neo4j, "MATCH (n) RETURN n") == []


# Size


async def test_a_thousand_releases_of_one_artist_are_written_and_changed(store: GraphStore, empty_neo4j: Neo4j) -> None:
    sink = store.sink("releases")
    for title in ("first", "second"):
        for start in range(0, 1000, 500):
            numbers = range(start, start + 500)
            await sink.write([record("releases", str(n), title=title, artists=[{"id": "194"}]) for n in numbers])

    count = await fetch(empty_neo4j, "MATCH (r:Release {title: 'second'})-[:BY]->(:Artist {id: '194'}) RETURN count(r)")
    assert count == [[1000]]
    assert await fetch(empty_neo4j, "MATCH ()-[e]->() RETURN count(e)") == [[1000]]


async def test_the_largest_known_release_is_written(store: GraphStore, empty_neo4j: Neo4j) -> None:
    credited = [{"id": str(1 + n % 1500), "role": f"Role {n}"} for n in range(2492)]

    await write(store, "releases", record("releases", "4957101", title="T" * 5000, extraartists=credited))

    assert await fetch(empty_neo4j, "MATCH (:Artist)-[e:CREDITED_ON]->(:Release) RETURN count(e)") == [[2492]]


# A graph that another writer has filled


FOREIGN = """
CREATE (r:Release {id: '10', sha256: 'theirs', mbid: 'x'}), (other:Release {id: '11', sha256: 'theirs'}),
       (a:Artist {id: '1', sha256: 'theirs'}), (b:Artist {id: '2'}), (l:Label {id: '5'}), (m:Master {id: '77'}),
       (rock:Genre {name: 'Rock'}), (ska:Style {name: 'Ska'})
CREATE (r)-[:BY]->(a), (r)-[:BY]->(b), (r)-[:ON]->(l), (r)-[:DERIVED_FROM]->(m), (r)-[:IS]->(rock), (r)-[:IS]->(ska),
       (b)-[:CREDITED_ON {role: 'Producer'}]->(r), (b)-[:CREDITED_ON {role: 'Gone'}]->(r), (r)-[:OWNED_BY]->(a),
       (a)-[:ALIAS_OF]->(b), (other)-[:BY]->(a), (m)-[:IS]->(rock)
"""
"""Ours, but for the hash: as a writer with the same types of edges leaves it, with some that our record has not."""


async def test_a_graph_that_another_writer_has_filled_is_taken_over(store: GraphStore, empty_neo4j: Neo4j) -> None:
    """Fault 72: what has no hash may own edges too, and they would come twice, for good."""
    await fetch(empty_neo4j, FOREIGN)

    assert await write(store, "releases", record("releases", "10", **RELEASE)) == Outcomes(new=1)
    assert await write(store, "artists", record("artists", "1", aliases=[{"id": "2"}])) == Outcomes(new=1)
    assert await write(store, "masters", record("masters", "77", genres=["Rock"])) == Outcomes(new=1)

    theirs = ["Release 10 -OWNED_BY-> Artist 1", "Release 11 -BY-> Artist 1"]
    ours = [*RELEASE_EDGES, "Artist 1 -ALIAS_OF-> Artist 2", "Master 77 -IS-> Genre Rock"]
    assert await edges(empty_neo4j) == sorted(ours + theirs)
    assert "mbid" not in (await nodes(empty_neo4j, "Release"))["10"]


async def test_what_only_the_other_writer_had_is_found_by_the_documented_statement(
    store: GraphStore, empty_neo4j: Neo4j
) -> None:
    await fetch(empty_neo4j, FOREIGN)
    await write(store, "releases", record("releases", "10", **RELEASE))

    documented = (Path(__file__).parents[2] / "docs" / "neo4j.md").read_text()
    left = [fetch(empty_neo4j, each) for each in re.findall(r"```cypher\n(MATCH .*?)```", documented, re.DOTALL)]
    rows = [row for asked in left for row in await asked]

    assert ["Release", 1, 1] in rows  # number 11
    assert ["Artist", 1, 1] in rows  # number 1, which is an alias of 2


async def test_stubs_that_nobody_names_any_more_are_swept_by_the_documented_statement(
    store: GraphStore, empty_neo4j: Neo4j
) -> None:
    await write(store, "artists", record("artists", "1", aliases=[{"id": "2"}, {"id": "3"}]))
    await write(store, "artists", record("artists", "1", aliases=[{"id": "3"}]))

    documented = (Path(__file__).parents[2] / "docs" / "neo4j.md").read_text()
    [sweep] = re.findall(r"```cypher\n(CYPHER 5 MATCH .*?)```", documented, re.DOTALL)
    await fetch(empty_neo4j, sweep)

    assert set(await nodes(empty_neo4j, "Artist")) == {"1", "3"}
    assert await edges(empty_neo4j) == ["Artist 1 -ALIAS_OF-> Artist 3"]
