"""Real records of every era, refined: each table and column equals a count from the XML by other code."""

import datetime
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from extractor import loads
from tableinator.ops.refinement.definitions import TABLES, Table
from tests.integration.refined import Site, site_of
from tests.integration.refined_xml import Row, main_releases_in, rows_in_xml
from tests.servers.servers import Postgres

FRAGMENTS = Path(__file__).parents[3] / "shared/data/discogs"
FOLDERS = ["2020-08-stratified", "2015-01", "2017-04", "2025-09-indented", "hardcases"]

pytestmark = pytest.mark.skipif(not FRAGMENTS.is_dir(), reason=f"no real fragments at {FRAGMENTS.name}")

Figures = dict[str, tuple[int, int, int]]
"""By column: rows, rows that are not null, characters of all values."""


def counted(rows: Iterable[Row], table: Table) -> Figures:
    """Count what the XML has."""
    columns: dict[str, list[Any]] = {column.name: [] for column in table.columns}
    for row in rows:
        assert row.keys() == columns.keys()
        for name, value in row.items():
            columns[name].append(None if value == "" else value)
    return {name: (len(values), *_figures(values)) for name, values in columns.items()}


def _figures(values: list[Any]) -> tuple[int, int]:
    known = [value for value in values if value is not None]
    return len(known), sum(len(_shown(value)) for value in known)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


async def stored(site: Site, table: Table) -> Figures:
    """Count what the table has."""
    figures = ", ".join(
        f"count({column.name}), coalesce(sum(length({column.name}::text)), 0)" for column in table.columns
    )
    [row] = await site.fetch(f"SELECT count(*), {figures} FROM discogs.{table.name}")
    values = list(row.values())
    return {
        column.name: (values[0], values[1 + 2 * place], values[2 + 2 * place])
        for place, column in enumerate(table.columns)
    }


@pytest.mark.parametrize("folder", FOLDERS)
async def test_every_column_equals_a_count_from_the_xml(postgres: Postgres, folder: str) -> None:
    load = loads.open_folder(FRAGMENTS / folder)
    mains = main_releases_in(load.file("masters").path) if "masters" in load.kinds else {}
    expected: dict[str, list[Row]] = defaultdict(list)
    for kind in load.kinds:
        for name, row in rows_in_xml(load.file(kind).path, kind, mains):
            expected[name].append(row)

    async with site_of(postgres.dsn) as site:
        await site.load(load)
        done = await site.refine()

        assert {each.kind: each.failed for each in done.values()} == dict.fromkeys(done, 0)
        for table in TABLES:
            assert await stored(site, table) == counted(expected[table.name], table), table.name
