"""The same records a month later: exactly what changed, and what is new, is written."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from common.kinds import Service
from extractor.loads import Load, open_files
from extractor.synthetic.synthetic import SyntheticLoad
from spindle.verification.verifying import verify
from tests.e2e.broker import Broker
from tests.e2e.loads import SMALL, messages_of
from tests.e2e.scene import Scene
from tests.e2e.services import Running, Services, in_words
from tests.e2e.sides import Graph, Tables
from tests.integration import graphs
from tests.integration import tables as sql

FRAGMENTS = Path(__file__).parents[3] / "shared/data/discogs"
NOVEMBER = FRAGMENTS / "2025-11/discogs_20251101_masters.xml.gz"
DECEMBER = FRAGMENTS / "2025-12/discogs_20251201_masters.xml.gz"
LOOKED_AT = 20  # changed masters whose edges are compared one by one

_EDGE = "type(e), labels(t)[0], coalesce(t.id, t.name)"
Edges = Counter[tuple[str, str, str]]


async def test_of_a_synthetic_next_month_only_new_and_changed_records_are_written(
    broker: Broker, services: Services, tables: Tables, graph: Graph
) -> None:
    second = SyntheticLoad(SMALL.count, SMALL.seed, month=SMALL.month + 1)
    changed, new, unchanged = _differences(_hashes(SMALL), _hashes(second))

    outcomes = await _publish_both(broker, services, tables, graph, SMALL, second)

    print(f"{len(changed):,} changed, {len(new):,} new, {len(unchanged):,} unchanged: {_in_words(outcomes)}")
    assert all((changed, new, unchanged))
    expected = {"new": len(new), "changed": len(changed), "unchanged": len(unchanged)}
    assert outcomes == dict.fromkeys(Service, expected)
    await _check(tables, graph, second)


@pytest.mark.skipif(not DECEMBER.exists(), reason="no real fragments in ../shared/data/discogs")
async def test_of_real_masters_a_month_later_only_new_and_changed_ones_are_written(
    broker: Broker, services: Services, tables: Tables, graph: Graph
) -> None:
    before, after = _masters(NOVEMBER), _masters(DECEMBER)
    changed, new, unchanged = _differences(
        {master_id: _canonical(element) for master_id, element in before.items()},
        {master_id: _canonical(element) for master_id, element in after.items()},
    )
    assert (len(before), len(changed)) == (3267, 150)

    outcomes = await _publish_both(broker, services, tables, graph, open_files([NOVEMBER]), open_files([DECEMBER]))

    print(f"{len(changed):,} changed, {len(new):,} new, {len(unchanged):,} unchanged: {_in_words(outcomes)}")
    expected = {"new": len(new), "changed": len(changed), "unchanged": len(unchanged)}
    assert outcomes == dict.fromkeys(Service, expected)
    await _check(tables, graph, open_files([DECEMBER]))
    for master_id in sorted(changed)[:LOOKED_AT]:
        assert await _stored_edges(graph, master_id) == _edges(after[master_id]), master_id


@pytest.mark.skipif(not DECEMBER.exists(), reason="no real fragments in ../shared/data/discogs")
async def test_after_two_real_months_by_spindle_load_both_stores_equal_the_second_ones_xml(scene: Scene) -> None:
    """Every leaf of every row, and every edge, by a parse of its own; of the second month 2,751 of 5,868 go out."""
    months = [await scene.load(path.parent, "--kinds", "masters") for path in (NOVEMBER, DECEMBER)]

    assert [(code, summary["complete"]) for code, summary in months] == [(0, True), (0, True)], months
    assert [[part["written"] for part in summary["parts"]] for _, summary in months] == [[3267] * 2, [150 + 2601] * 2]
    masters = _masters(DECEMBER)
    rows = await sql.fetch(scene.tables.dsn, "SELECT data_id, data - 'type' - 'sha256' FROM masters")
    stored = {row[0]: Counter(_leaves(json.loads(row[1]))) for row in rows}
    assert stored == {master_id: Counter(_texts(element)) for master_id, element in masters.items()}
    found = await graphs.fetch(scene.graph.server, "MATCH (n:Master)-[e]->(t) RETURN n.id, " + _EDGE)
    assert Counter((row[0], *row[1:]) for row in found) == Counter(
        (master_id, *edge) for master_id, element in masters.items() for edge in _edges(element)
    )
    titles = await graphs.fetch(scene.graph.server, "MATCH (n:Master) WHERE n.hash IS NOT NULL RETURN n.id, n.title")
    assert dict(map(tuple, titles)) == {key: element.findtext("title") for key, element in masters.items()}


async def _publish_both(
    broker: Broker, services: Services, tables: Tables, graph: Graph, first: Load, second: Load
) -> dict[Service, dict[str, int]]:
    """Publish one load after the other. Returns: what each service made of the second."""
    for side in (tables, graph):
        await broker.declare(side.service)
    running = [await services.start(side.service, broker.environment | side.environment) for side in (tables, graph)]
    await _carry(broker, running, first)
    before = {service.service: service.metrics().outcomes() for service in running}
    await _carry(broker, running, second)
    return {service.service: dict(service.metrics().outcomes() - before[service.service]) for service in running}


async def _carry(broker: Broker, running: list[Running], load: Load) -> None:
    await broker.publish(load)
    for service in running:
        await broker.until_drained(service)


async def _check(tables: Tables, graph: Graph, load: Load) -> None:
    """Both stores hold the load; what is beside it is from the month before."""
    found = await verify(load, name="", postgres=tables.settings, neo4j=graph.settings, say=lambda _: None)
    assert [(name, finding) for store in found.stores for name, finding in store.problems() if finding.count] == []
    assert found.agrees


def _in_words(outcomes: dict[Service, dict[str, int]]) -> str:
    return "; ".join(f"{service}: {in_words(found)}" for service, found in outcomes.items())


def _hashes(load: Load) -> dict[str, str]:
    return {message.message_id: message.sha256 for kind in load.kinds for message in messages_of(load, kind)}


def _differences(before: dict[str, str], after: dict[str, str]) -> tuple[set[str], set[str], set[str]]:
    """Changed, new and unchanged ids."""
    changed = {key for key in after if key in before and after[key] != before[key]}
    return changed, after.keys() - before.keys(), (after.keys() & before.keys()) - changed


# The real dumps, by a way of their own.


def _masters(path: Path) -> dict[str, etree._Element]:
    root = etree.fromstring(gzip.decompress(path.read_bytes()), etree.XMLParser(huge_tree=True))
    return {str(element.get("id")): element for element in root}


def _canonical(element: etree._Element) -> str:
    """A master's XML without what the wire format leaves out."""
    for images in element.findall("images"):
        element.remove(images)
    element.tail = None
    return etree.tostring(element, method="c14n").decode()


def _edges(element: etree._Element) -> Edges:
    """The edges that a master must own, each once."""
    artists = {("BY", "Artist", str(found.text)) for found in element.iterfind("artists/artist/id")}
    genres = {("IS", "Genre", str(found.text)) for found in element.iterfind("genres/genre")}
    styles = {("IS", "Style", str(found.text)) for found in element.iterfind("styles/style")}
    return Counter(artists | genres | styles)


def _texts(element: etree._Element) -> Iterator[str]:
    """A master's attributes, and the text of each element that has no others in it; not the images."""
    for images in element.findall("images"):
        element.remove(images)
    for each in element.iter():
        yield from map(str, each.attrib.values())
        if each.text and not len(each):
            yield each.text


def _leaves(value: object) -> Iterator[str]:
    """What a row's JSON holds at its ends."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    elif value is not None:
        yield str(value)


async def _stored_edges(graph: Graph, master_id: str) -> Edges:
    rows = await graphs.fetch(
        graph.server,
        "MATCH (:Master {id: $id})-[e]->(t) RETURN " + _EDGE,
        id=master_id,
    )
    return Counter((type_, label, key) for type_, label, key in rows)
