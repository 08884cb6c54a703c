"""Partitioned tables: written and read from PostgreSQL 18 on, refused before."""

from collections.abc import AsyncIterator

import pytest

from common.errors import StoreUnavailable
from common.outcomes import Outcomes
from tableinator.ops.identities import BEGINNING, open_identities
from tableinator.ops.newest_load import newest_load
from tableinator.ops.reader import open_table, read_rows
from tableinator.store import open_store
from tests.integration.tables import fetch, own_schema, row, run, settings
from tests.integration.test_tables_schema import open_and_close, refusal
from tests.servers.servers import Postgres

PARENT = """CREATE TABLE artists (data_id text PRIMARY KEY, hash text NOT NULL, data jsonb NOT NULL, version text,
updated_at timestamptz NOT NULL DEFAULT now()) PARTITION BY HASH (data_id)"""
PARTS = tuple(
    f"CREATE TABLE part_{n} PARTITION OF artists FOR VALUES WITH (MODULUS 2, REMAINDER {n})" for n in range(2)
)
from_18 = pytest.mark.parametrize("each_postgres", ["18"], indirect=True)
IDS = [str(number) for number in range(1, 41)]


@pytest.fixture
async def dsn(each_postgres: Postgres) -> AsyncIterator[str]:
    """A schema with a partitioned table."""
    async with own_schema(each_postgres.dsn) as dsn:
        await run(dsn, PARENT, *PARTS)
        yield dsn


@pytest.mark.parametrize("each_postgres", ["15"], indirect=True)
async def test_before_18_a_partitioned_table_is_refused_with_the_reason(each_postgres: Postgres) -> None:
    async with own_schema(each_postgres.dsn) as dsn:
        await run(dsn, PARENT, *PARTS)

        assert "artists: artists is partitioned, which takes PostgreSQL 18 or newer" in await refusal(dsn)


@from_18
async def test_what_was_new_and_what_was_changed_is_told_in_every_part(dsn: str) -> None:
    async with open_store(settings(dsn)) as store:
        sink = store.sink("artists")
        copied = await sink.write([row(each) for each in IDS[:20]])
        mixed = await sink.write([row(each, b"[1]") for each in IDS[:30]])
        unchanged = await sink.write([row(each, b"[1]") for each in IDS[:30]])
        stale = await sink.write([row("1", b"[2]", version="20240101")])

    assert copied == Outcomes(new=20)
    assert mixed == Outcomes(new=10, changed=20)
    assert unchanged == Outcomes(unchanged=30)
    assert stale == Outcomes(stale=1)
    parts = await fetch(dsn, "SELECT tableoid, count(*) FROM artists GROUP BY 1")
    assert len(parts) == 2


@from_18
async def test_each_row_is_read_once_in_pages_too(dsn: str) -> None:
    async with open_store(settings(dsn)) as store:
        await store.sink("artists").write([row(each) for each in IDS])
    await run(dsn, "ANALYZE artists")
    postgres = settings(dsn).postgres

    read = [each.id async for each in read_rows(postgres, "artists")]
    paged: list[str] = []
    place = BEGINNING
    async with open_identities(postgres) as identities:
        estimate = await identities.estimate("artists")
        while True:
            page, behind = await identities.page("artists", place, 7)
            if behind == place:
                break
            paged, place = [*paged, *(each for each, _ in page)], behind
    async with open_table(postgres, "artists") as table:
        counted, some = await table.count(), await table.rows(["1", "2", "none"])

    assert sorted(read) == sorted(paged) == sorted(IDS)
    assert estimate == counted == len(IDS)
    assert set(some) == {"1", "2"}
    assert await newest_load(postgres, ["artists"]) == "20250201"


@from_18
async def test_an_id_without_a_partition_is_an_outage_with_an_alarm_and_no_data(dsn: str) -> None:
    await run(dsn, "DROP TABLE part_1")
    async with open_store(settings(dsn)) as store:
        with pytest.raises(StoreUnavailable) as raised:
            await store.sink("artists").write([row(each) for each in IDS])

    assert "no partition for a record's id" in (raised.value.alarm or "")


@from_18
async def test_an_unlogged_part_is_refused_by_name(dsn: str) -> None:
    await run(dsn, "ALTER TABLE part_1 SET UNLOGGED")

    assert "empties part_1; ALTER TABLE part_1 SET LOGGED" in await refusal(dsn)

    await run(dsn, "ALTER TABLE part_1 SET LOGGED")
    await open_and_close(dsn)
