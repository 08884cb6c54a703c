"""Real records of every era: what the graph holds afterwards equals an independent count from the XML."""

import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from common.kinds import KINDS
from common.outcomes import Outcomes
from extractor import loads
from graphinator.ops.reader import open_reader
from graphinator.projection import GraphRecord
from tests.integration.graphs import fetch, opened, project, settings
from tests.servers.servers import Neo4j

FRAGMENTS = Path(__file__).parents[3] / "shared/data/discogs"
FOLDERS = ["2020-08-stratified", "2025-11", "2015-01", "2017-04", "2025-09-indented", "hardcases"]

pytestmark = pytest.mark.skipif(not FRAGMENTS.is_dir(), reason=f"no real fragments at {FRAGMENTS.name}")


def projected(load: loads.Load, kind: str) -> Iterator[GraphRecord]:
    for message in loads.messages(load, kind):
        yield project(kind, message.body, message.id, sha256=message.sha256, load=load.date)


def batches(records: Iterator[GraphRecord], size: int = 500) -> Iterator[list[GraphRecord]]:
    unique = {record.id: record for record in records}  # as the batcher does: a fragment may repeat an id
    listed = list(unique.values())
    return (listed[start : start + size] for start in range(0, len(listed), size))


def edges_in_xml(path: Path, kind: str) -> Counter[tuple[str, str, str]]:
    """Count the edges of a dump without any of our code."""
    content = gzip.decompress(path.read_bytes())
    root = etree.fromstring(content, etree.XMLParser(recover=True, huge_tree=True))
    found: Counter[tuple[str, str, str]] = Counter()
    for element in {_id(each): each for each in root.findall(kind.removesuffix("s"))}.values():
        found.update(_edges(element, kind))
    return found


def _id(element: etree._Element) -> str:
    return element.get("id") or element.findtext("id") or ""


def _edges(element: etree._Element, kind: str) -> dict[tuple[str, str, str], int]:
    def ids(path: str) -> set[str | None]:
        return {each.findtext("id") for each in element.findall(path)} - {None, "", "0"}

    def attributes(path: str) -> set[str | None]:
        return {each.get("id") for each in element.findall(path)} - {None, "", "0"}

    def texts(path: str) -> int:
        return len({each.text for each in element.findall(path)} - {None, ""})

    if kind == "artists":
        return {
            ("Artist", "ALIAS_OF", "Artist"): len(attributes("aliases/name")),
            ("Artist", "MEMBER_OF", "Artist"): len(attributes("groups/name")),
        }
    if kind == "labels":
        return {("Label", "SUBLABEL_OF", "Label"): len(attributes("parentLabel"))}
    label = "Master" if kind == "masters" else "Release"
    counted = {
        (label, "BY", "Artist"): len(ids("artists/artist")),
        (label, "IS", "Genre"): texts("genres/genre"),
        (label, "IS", "Style"): texts("styles/style"),
    }
    if kind == "releases":
        credited = {
            (each.findtext("id"), each.findtext("role") or "") for each in element.findall("extraartists/artist")
        }
        pressed = {(each.get("id"), each.get("catno") or "") for each in element.findall("labels/label")}
        counted["Artist", "CREDITED_ON", "Release"] = len([who for who, _ in credited if who not in (None, "", "0")])
        counted["Release", "ON", "Label"] = len([where for where, _ in pressed if where not in (None, "", "0")])
        counted["Release", "DERIVED_FROM", "Master"] = int(element.findtext("master_id") not in (None, "", "0"))
    return counted


@pytest.mark.parametrize("folder", FOLDERS)
async def test_the_graph_of_real_records_equals_a_count_from_the_xml(empty_neo4j: Neo4j, folder: str) -> None:
    load = loads.open_folder(FRAGMENTS / folder)
    expected: Counter[tuple[str, str, str]] = Counter()
    async with opened(empty_neo4j) as store, open_reader(settings(empty_neo4j).neo4j) as reader:
        for kind in load.kinds:
            expected.update(edges_in_xml(load.file(kind).path, kind))
            for batch in batches(projected(load, kind)):
                assert (await store.sink(kind).write(batch)).new == len(batch)

        counted = await fetch(
            empty_neo4j, "MATCH (a)-[e]->(b) RETURN labels(a)[0], type(e), labels(b)[0], count(*) AS count"
        )
        assert {tuple(name): count for *name, count in counted} == {
            name: count for name, count in expected.items() if count
        }
        for kind in load.kinds:
            stored = {each.id: each async for page in reader.records(kind) for each in page if each.hash is not None}
            records = {record.id: record for record in projected(load, kind)}
            assert {key: (each.properties, each.edges, each.hash) for key, each in stored.items()} == {
                key: (each.properties, each.edges, each.hash) for key, each in records.items()
            }


async def test_the_next_month_of_the_masters_changes_what_has_changed_and_nothing_else(empty_neo4j: Neo4j) -> None:
    november, december = (loads.open_folder(FRAGMENTS / folder) for folder in ("2025-11", "2025-12"))
    before, after = ({each.id: each for each in projected(load, "masters")} for load in (november, december))
    async with opened(empty_neo4j) as store, open_reader(settings(empty_neo4j).neo4j) as reader:
        sink, outcomes = store.sink("masters"), Outcomes()
        for batch in batches(iter(before.values())):
            await sink.write(batch)
        for batch in batches(iter(after.values())):
            outcomes += await sink.write(batch)
        stored = {each.id: each async for page in reader.records("masters") for each in page if each.hash is not None}

    common = before.keys() & after.keys()
    changed = {key for key in common if before[key].hash != after[key].hash}
    assert outcomes == Outcomes(
        new=len(after) - len(common), changed=len(changed), unchanged=len(common) - len(changed)
    )
    assert {key: stored[key].edges for key in after} == {key: each.edges for key, each in after.items()}
    assert {stored[key].version for key in changed} == {"20251201"}
    assert {stored[key].version for key in common - changed} == {"20251101"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_synthetic_load_can_be_projected(kind: str) -> None:
    load = loads.SyntheticLoad(count=2000, seed=1)

    records = [project(kind, each.body, each.id, sha256=each.sha256) for each in loads.messages(load, kind)]

    assert any(any(record.edges) for record in records)
