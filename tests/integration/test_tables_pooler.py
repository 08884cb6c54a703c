"""Behind PgBouncer: rows land in their own table, whatever the mode of pooling, or the start is refused."""

import asyncio
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from common.errors import StartRefused, WriteConflict
from common.ops.checks import State
from common.outcomes import Outcomes
from tableinator.connections import Connections
from tableinator.ops.doctor import check_tables
from tableinator.ops.newest_load import newest_load
from tableinator.ops.reader import count_rows, read_rows
from tableinator.sink import TableSink
from tableinator.store import open_store
from tests.integration.tables import fetch, row, run, settings
from tests.servers.pooler import pooler
from tests.servers.servers import Postgres, database_of_this_run

REPLICA = """
import asyncio, os, sys
from tableinator.store import open_store
from tests.integration.tables import row, settings

async def main(dsn, kind):
    async with open_store(settings(dsn, kinds=(kind,), writers=1)) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for batch in range(60):
            await store.sink(kind).write([row(f"{kind}-{os.getpid()}-{batch}-{number}") for number in range(20)])

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def dsn(postgres: Postgres) -> Iterator[str]:
    """A database of the test's own: PgBouncer takes no search_path."""
    with database_of_this_run(postgres) as database:
        yield database.dsn


async def _replica(dsn: str, kind: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", REPLICA, dsn, kind, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    while (line := await process.stdout.readline()) != b"ready\n":
        assert line, "it has ended"
    return process


@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_replicas_behind_a_pooler_store_each_row_in_its_own_table(dsn: str, mode: str) -> None:
    """Fault 70."""
    kinds = ("artists", "labels")
    with pooler(dsn, mode, default_pool_size=4, server_round_robin=1) as pooled:
        async with asyncio.timeout(120):
            replicas = [await _replica(pooled, kind) for kind in kinds * 2]
            ends = await asyncio.gather(*(replica.communicate(b"\n") for replica in replicas))

    assert [replica.returncode for replica in replicas] == [0] * 4, ends
    for kind in kinds:
        stored = await fetch(dsn, f"SELECT count(*), count(*) FILTER (WHERE data_id LIKE '{kind}-%') FROM {kind}")
        assert tuple(stored[0]) == (2400, 2400)


@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_everything_that_is_asked_of_the_tables_works_behind_a_pooler(dsn: str, mode: str) -> None:
    with pooler(dsn, mode, default_pool_size=3, server_round_robin=1) as pooled:
        async with open_store(settings(pooled, writers=2)) as store:
            sink = store.sink("artists")
            for body in (b'{"a": 1}', b'{"a": 1}', b'{"a": 2}'):
                await asyncio.gather(*(sink.write([row(f"{n}-{m}", body) for m in range(3)]) for n in range(4)))
            assert await sink.rewrite(row("1-1", b'{"a": 2}'))
            await sink.probe(row("1-1"))
        postgres = settings(pooled).postgres

        assert {each.data async for each in read_rows(postgres, "artists")} == {b'{"a": 2}'}
        assert await count_rows(postgres, ["artists"]) == {"artists": 12}
        assert await newest_load(postgres, ["artists"]) == "20250201"


async def test_limits_hold_behind_a_pooler_and_end_with_their_transaction(dsn: str) -> None:
    asked = "SELECT current_setting('statement_timeout')"
    with pooler(dsn, "transaction", default_pool_size=1) as pooled:
        async with (
            Connections(settings(pooled).postgres, size=1) as connections,
            connections.transaction() as transaction,
        ):
            [ours] = await transaction.fetch(asked)
        other = await asyncpg.connect(pooled, timeout=10, statement_cache_size=0)
        others = await other.fetchval(asked)
        await other.close(timeout=10)

    assert (ours[0], others) == ("48s", "0")


async def test_a_pooler_that_pools_statements_is_refused_with_a_sentence(dsn: str) -> None:
    with pooler(dsn, "statement") as pooled:
        with pytest.raises(StartRefused) as refused:
            async with asyncio.timeout(30), open_store(settings(pooled)):
                pass
        [check] = await check_tables(settings(pooled).postgres, ["artists"], connections=1)

    assert "pooler" in str(refused.value) and "docs/postgresql.md" in str(refused.value)
    assert check.state is State.FAILED and "pooler" in check.sentence


@pytest.mark.parametrize("sets", ["search_path=elsewhere", "options=-c%20search_path%3Delsewhere"])
async def test_a_pooler_that_keeps_the_sessions_settings_to_itself_is_refused(dsn: str, sets: str) -> None:
    """Fault 70: the tables would be in another schema."""
    await run(dsn, "CREATE SCHEMA elsewhere")
    kept = "search_path, options, extra_float_digits"
    with pooler(dsn, "session", ignore_startup_parameters=kept) as pooled:
        given = settings(f"{pooled}?{sets}")
        with pytest.raises(StartRefused, match="search_path") as refused:
            async with asyncio.timeout(30), open_store(given):
                pass
        [check] = await check_tables(given.postgres, ["artists"], connections=1)
    async with open_store(settings(f"{dsn}?{sets}")) as store:
        await store.sink("artists").write([row("1")])
    await run(dsn, f"ALTER DATABASE {urlsplit(dsn).path[1:]} SET search_path = elsewhere")
    with pooler(dsn, "session", ignore_startup_parameters=kept) as pooled:
        async with open_store(settings(f"{pooled}?{sets}&extra_float_digits=0")) as store:
            await store.sink("artists").write([row("2")])

    assert "set it for the role" in str(refused.value)
    assert check.state is State.FAILED and "search_path" in check.sentence
    assert [tuple(each) for each in await fetch(dsn, "SELECT data_id FROM elsewhere.artists")] == [("1",), ("2",)]


@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_doctor_names_the_pooler(dsn: str, mode: str) -> None:
    with pooler(dsn, mode, default_pool_size=3) as pooled:
        checks = await check_tables(settings(pooled).postgres, ["artists"], connections=1)

    found = {check.name: check for check in checks}
    assert found["pooler"].state is State.OK
    assert ("transaction" in found["pooler"].sentence) == (mode == "transaction")
    assert {check.name for check in checks if check.state is State.FAILED} == set()


async def test_a_statement_that_is_gone_is_a_conflict_by_the_pooler_and_then_statements_have_no_name(dsn: str) -> None:
    """Fault 70."""
    async with Connections(settings(dsn).postgres, size=1) as connections, open_store(settings(dsn)):
        sink = TableSink(connections, "artists")
        await sink.write([row("1")])
        async with connections.transaction() as transaction:
            names = await transaction.fetch("SELECT name FROM pg_prepared_statements")
            await transaction.execute("DEALLOCATE ALL")
            await transaction.commit()

        with pytest.raises(WriteConflict, match=r"26000.*pooler"):
            await sink.write([row("2")])

        assert all(name.startswith("spindle_") for [name] in names) and names
        assert await sink.write([row("2")]) == Outcomes(new=1)
        async with connections.transaction() as transaction:
            assert await transaction.fetch("SELECT name FROM pg_prepared_statements") == []
