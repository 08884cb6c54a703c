"""The SQL of docs/queries.md: each query runs, and its plan uses the indexes that it names."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import asyncpg
import pytest

from extractor import loads
from extractor.synthetic.synthetic import SyntheticLoad
from tableinator.ops.refinement.definitions import indexes
from tableinator.ops.refinement.indexes import make_indexes, plan_indexes
from tests.integration.refined import Site, site_of
from tests.integration.test_refine_fragments import FRAGMENTS
from tests.servers.servers import Postgres

PAGE = Path(__file__).parents[2] / "docs/queries.md"


ENOUGH = 2000
"""Records of a fragment among which every query finds something."""


@dataclass(frozen=True, slots=True)
class Query:
    """One of the page's, and the indexes that its plan must have."""

    title: str
    text: str
    indexes: tuple[str, ...]


def queries() -> Iterator[Query]:
    """Every query of the page."""
    for title, text in re.findall(r"^### (.+?)\n.*?```sql\n(.+?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        yield Query(title, text, tuple(re.findall(r"^-- (\w+)$", text, re.MULTILINE)))


async def _prepare(site: Site) -> None:
    await site.refine()
    planned = await plan_indexes(site.settings, site.schema, indexes())
    assert await make_indexes(site.settings, site.schema, planned, lambda *_: None), "pg_trgm comes with the server"


async def _plan_of(site: Site, text: str) -> str:
    """By bitmaps only, which need a condition: of a few rows the planner would read all, by any index."""
    connection = await asyncpg.connect(site.dsn, timeout=10)
    try:
        await connection.execute("SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off")
        explained = await connection.fetch("EXPLAIN " + text.replace("discogs.", f"{site.schema}."))
    finally:
        await connection.close(timeout=10)
    return "\n".join(row[0] for row in explained)


@pytest.fixture
async def site(postgres: Postgres) -> AsyncIterator[Site]:
    """Made-up records, refined, with every index."""
    async with site_of(postgres.dsn) as site:
        await site.load(SyntheticLoad(300, seed=7))
        await _prepare(site)
        yield site


async def test_every_query_runs_and_its_plan_uses_its_index(site: Site) -> None:
    known = {index.name for index in indexes()}
    listed = list(queries())

    assert len([query for query in listed if query.indexes]) >= 10
    for query in listed:
        await site.fetch(query.text)
        plan = await _plan_of(site, query.text)
        for index in query.indexes:
            assert index in known
            assert index in plan, f"{query.title}:\n{plan}"


@pytest.mark.skipif(not FRAGMENTS.is_dir(), reason=f"no real fragments at {FRAGMENTS.name}")
async def test_every_query_finds_something_among_real_records(postgres: Postgres) -> None:
    async with site_of(postgres.dsn) as site:
        for folder, kind in (("2025-11", "releases"), ("2019-12", "artists"), ("2019-12", "labels")):
            load = loads.open_folder(FRAGMENTS / folder)
            await site.store(kind, islice(loads.messages(load, kind), ENOUGH))
        await site.refine()

        for query in queries():
            assert await site.fetch(query.text) or not query.indexes, query.title
