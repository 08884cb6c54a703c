"""The Cypher of docs/queries.md: each query runs, begins at the index that it names, and reads no label whole."""

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytest

from extractor import loads
from extractor.synthetic.synthetic import SyntheticLoad
from tests.integration.graphs import driver, fetch, opened
from tests.integration.test_graph_fragments import FRAGMENTS, batches, projected
from tests.integration.test_queries import PAGE
from tests.servers.servers import Neo4j

ENOUGH = 1000
"""Records of a fragment among which every query finds something."""

FOLDERS = {"releases": "2025-11", "masters": "2025-11", "artists": "2019-12", "labels": "2019-12"}


@dataclass(frozen=True, slots=True)
class Query:
    """One of the page's, the indexes that its plan must begin at, and the statements that make indexes on demand."""

    title: str
    text: str
    indexes: tuple[str, ...]
    creations: tuple[str, ...]


def queries() -> Iterator[Query]:
    """Every query of the page."""
    for section in PAGE.read_text().split("\n### ")[1:]:
        *creations, text = [*re.findall(r"^```cypher\n(.+?)```", section, re.DOTALL | re.MULTILINE)] or [""]
        if text:
            indexes = tuple(re.findall(r"^// (\w+\(\w+\))$", text, re.MULTILINE))
            yield Query(section.partition("\n")[0], text, indexes, tuple(creations))


@asynccontextmanager
async def indexed(server: Neo4j) -> AsyncIterator[None]:
    """The page's indexes on demand, for as long."""
    creations = [statement for query in queries() for statement in query.creations]
    try:
        for statement in creations:
            await fetch(server, statement)
        await fetch(server, "CALL db.awaitIndexes(60)")
        # What the planner knows of an index may be from a moment ago, when it was empty.
        await fetch(server, "CALL db.prepareForReplanning(60)")
        yield
    finally:
        for statement in creations:
            name = re.search(r"CREATE INDEX (\w+)", statement)
            assert name is not None
            await fetch(server, f"DROP INDEX {name[1]} IF EXISTS")


async def plan_of(server: Neo4j, text: str) -> list[tuple[str, str]]:
    """The operators of a statement's plan with their details."""
    async with driver(server) as direct, direct.session(database=server.database) as session:
        summary = await (await session.run(f"EXPLAIN {text}")).consume()
    assert summary.plan is not None
    return list(_operators(summary.plan))


def _operators(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield plan["operatorType"].partition("@")[0], plan["args"].get("Details", "")
    for child in plan.get("children", ()):
        yield from _operators(child)


async def fill(server: Neo4j, load: loads.Load, kinds: Iterable[str], most: int | None = None) -> None:
    """Write a load through the service's sink."""
    async with opened(server) as store:
        for kind in kinds:
            for batch in batches(islice(projected(load, kind), most)):
                await store.sink(kind).write(batch)


def languages(server: Neo4j) -> Iterator[str]:
    """How a statement may begin there; nothing: as the database was made."""
    yield from ("", "CYPHER 5 ") if server.version().startswith("5.") else ("", "CYPHER 5 ", "CYPHER 25 ")


async def test_every_query_runs_and_its_plan_begins_at_its_index(empty_neo4j: Neo4j) -> None:
    load = SyntheticLoad(300, seed=7)
    await fill(empty_neo4j, load, load.kinds)
    listed = list(queries())

    assert len(listed) >= 10
    async with indexed(empty_neo4j):
        for query in listed:
            await fetch(empty_neo4j, query.text)
            assert query.indexes, query.title
            for language in languages(empty_neo4j):
                plan = await plan_of(empty_neo4j, language + query.text)
                assert not [name for name, _ in plan if "Scan" in name], f"{query.title}: {plan}"
                sought = [details for name, details in plan if "IndexSeek" in name]
                for index in query.indexes:
                    assert any(f":{index}" in details for details in sought), f"{query.title}: {plan}"


@pytest.mark.skipif(not FRAGMENTS.is_dir(), reason=f"no real fragments at {FRAGMENTS.name}")
async def test_every_query_finds_something_among_real_records(empty_neo4j: Neo4j) -> None:
    for kind, folder in FOLDERS.items():
        await fill(empty_neo4j, loads.open_folder(FRAGMENTS / folder), [kind], ENOUGH)

    found = {query.title: await fetch(empty_neo4j, query.text) for query in queries()}

    assert [title for title, rows in found.items() if not rows] == []
    [[way]] = found["How two artists are connected"]
    assert (way[0], way[-1], len(way)) == ("Artist Laurent Garnier", "Artist Jeff Mills", 7), way
    [[name, members, groups, aliases]] = found["Members, groups and aliases"]
    assert (name, bool(members), bool(groups or aliases)) == ("Deep Space Network", True, True)
