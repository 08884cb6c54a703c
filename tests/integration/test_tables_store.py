"""The store comes up when the server does, comes back when the server does, and never hangs."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from common.errors import StartRefused, StoreUnavailable
from common.outcomes import Outcomes
from tableinator.model import Row
from tableinator.ops.reader import StoredRow, count_rows, read_rows
from tableinator.store import TableStore, open_store
from tests.contract.cancelling import cancel_at
from tests.contract.proxy import Proxy, cuttable_proxy
from tests.integration.tables import KINDS, at, fetch, own_schema, row, run, settings, wait_until_blocked
from tests.servers.native import OwnPostgres
from tests.servers.servers import Postgres


@pytest.fixture
async def proxy(dsn: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(dsn)
    async with cuttable_proxy(parts.hostname or "127.0.0.1", parts.port or 5432) as proxy:
        yield proxy


@pytest.fixture
async def store(dsn: str, proxy: Proxy) -> AsyncIterator[TableStore]:
    """A store behind the proxy, with short limits."""
    async with open_store(settings(at(dsn, port=proxy.port), connect_timeout=3.0, command_timeout=3.0)) as store:
        yield store


def rows(count: int) -> list[Row]:
    return [row(str(number)) for number in range(count)]


# Opening.


async def test_a_server_that_is_not_up_is_waited_for_and_that_is_said_once(dsn: str, proxy: Proxy) -> None:
    proxy.cut()
    with capture_logs() as lines:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            opening = group.create_task(
                stack.enter_async_context(open_store(settings(at(dsn, port=proxy.port)))), name="opening"
            )
            done, _ = await asyncio.wait([opening], timeout=1.0)
            assert not done

            proxy.mend()
            store = await opening
            assert await store.sink("artists").write(rows(1)) == Outcomes(new=1)

    (line,) = [line for line in lines if line["event"] == "Waiting for the store"]
    assert line["address"] == f"127.0.0.1:{proxy.port}"
    assert line["reason"]


async def test_waiting_for_the_server_ends_when_it_is_cancelled(dsn: str, proxy: Proxy) -> None:
    proxy.freeze()

    async with asyncio.timeout(30):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), open_store(settings(at(dsn, port=proxy.port))):
                pass


async def test_a_login_that_is_refused_ends_the_start(dsn: str) -> None:
    name = f"nobody_{secrets.token_hex(4)}"
    await run(dsn, f"CREATE ROLE {name} NOLOGIN")
    try:
        with pytest.raises(StartRefused) as refused:
            async with open_store(settings(at(dsn, login=f"{name}:geheim"))):
                pass
    finally:
        await run(dsn, f"DROP ROLE {name}")

    assert "POSTGRES_USERNAME" in str(refused.value)
    assert "geheim" not in str(refused.value)


async def test_a_database_that_does_not_exist_ends_the_start(postgres: Postgres) -> None:
    dsn = urlsplit(postgres.dsn)._replace(path="/no_such_database", query="").geturl()

    with pytest.raises(StartRefused) as refused:
        async with open_store(settings(dsn)):
            pass

    assert "no_such_database" in str(refused.value)


async def test_a_dsn_that_the_driver_refuses_ends_the_start() -> None:
    with pytest.raises(StartRefused) as refused:
        async with open_store(settings("postgresql://user:geheim@localhost/db?sslmode=perhaps")):
            pass

    assert "POSTGRES_DSN" in str(refused.value)
    assert "geheim" not in str(refused.value)


async def test_the_store_says_what_it_is(store: TableStore) -> None:
    assert store.name == "PostgreSQL"
    assert store.projection("artists") is store.projection("releases")


# The pool.


async def test_the_pool_has_a_connection_for_every_writer_of_every_kind(dsn: str) -> None:
    """Fault 42."""
    async with open_store(settings(dsn, kinds=KINDS, writers=2)) as store:
        other = await asyncpg.connect(dsn, timeout=10)
        await other.execute("BEGIN")
        await other.execute(f"LOCK TABLE {', '.join(KINDS)}")
        async with asyncio.TaskGroup() as group:
            for kind in KINDS:
                for writer in "12":
                    group.create_task(store.sink(kind).write([row(writer)]))
            await wait_until_blocked(dsn, count=8)
            in_use = store.pool_in_use()
            await other.close(timeout=30)

        assert (store.pool_size, in_use, store.pool_in_use()) == (8, 8, 0)


async def test_after_a_cancellation_at_any_await_no_transaction_stays_open(dsn: str) -> None:
    async with open_store(settings(dsn, writers=1)) as store:
        sink = store.sink("artists")
        suspension, reached = 0, True
        while reached:
            suspension += 1
            batch = [row(f"{suspension}-{number}") for number in range(3)]
            reached = await cancel_at(sink.write(batch), suspension=suspension)
            assert store.pool_in_use() == 0
            async with asyncio.timeout(30):
                assert (await sink.write(batch)).total == 3

    assert suspension > 6  # acquire, begin, look up, copy, commit, release at least
    async with asyncio.timeout(30):
        while await fetch(
            dsn,
            """SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tableinator'
            AND state LIKE 'idle in transaction%'""",
        ):
            await asyncio.sleep(0.05)


# Silence: a peer that accepts and says nothing.


async def test_a_server_that_falls_silent_is_noticed_and_comes_back(store: TableStore, proxy: Proxy) -> None:
    """Fault 45."""
    sink = store.sink("artists")
    await sink.write(rows(1))
    proxy.freeze()

    async with asyncio.timeout(30):
        with pytest.raises(StoreUnavailable) as silent:
            await sink.write(rows(2))
        with pytest.raises(StoreUnavailable):  # and so is one that does not let us in
            await sink.write(rows(2))
    proxy.mend()

    assert silent.value.alarm is None
    assert await sink.write(rows(2)) == Outcomes(new=1, unchanged=1)


async def test_a_server_that_stops_reading_in_the_middle_of_a_copy_is_noticed(store: TableStore, proxy: Proxy) -> None:
    sink = store.sink("artists")
    await sink.write(rows(1))
    # More than all buffers in between hold, so that the driver has to wait for the server to read.
    large = [Row(str(number), "h", None, json.dumps("x" * 1_000_000).encode()) for number in range(1, 65)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        write = group.create_task(_unavailable(store, large))
        await proxy.passed_up(2_000_000)
        proxy.freeze()
    proxy.mend()

    assert write.result()
    assert await sink.write(rows(2)) == Outcomes(new=1, unchanged=1)


async def test_closing_does_not_wait_for_a_silent_server(dsn: str, proxy: Proxy) -> None:
    """Fault 45."""
    async with asyncio.timeout(30), open_store(settings(at(dsn, port=proxy.port))) as store:
        await store.sink("artists").write(rows(1))

        proxy.freeze()


async def _unavailable(store: TableStore, batch: list[Row]) -> bool:
    try:
        await store.sink("artists").write(batch)
    except StoreUnavailable:
        return True
    return False


# The answer to a commit is lost.


async def test_a_batch_whose_commit_had_no_answer_is_counted_once(store: TableStore, proxy: Proxy, dsn: str) -> None:
    """Fault 18."""
    sink = store.sink("artists")
    await sink.write([row("0"), row("1", b"[1]")])
    proxy.lose_answer_to(b"COMMIT\0")

    with pytest.raises(StoreUnavailable):
        await sink.write(rows(4))
    stored = (await count_rows(settings(dsn).postgres, ["artists"]))["artists"]
    outcomes = [await sink.write(rows(4)), await sink.write(rows(4))]

    assert stored == 4
    assert outcomes == [Outcomes(new=2, changed=1, unchanged=1), Outcomes(unchanged=4)]


async def test_records_without_hash_whose_commit_had_no_answer_are_counted_once(
    store: TableStore, proxy: Proxy, dsn: str
) -> None:
    sink = store.sink("artists")
    proxy.lose_answer_to(b"COMMIT\0")

    with pytest.raises(StoreUnavailable):
        await sink.write([row("1", sha="")])
    stored = (await count_rows(settings(dsn).postgres, ["artists"]))["artists"]

    assert stored == 1
    assert await sink.write([row("1", sha="")]) == Outcomes(new=1)


async def test_a_batch_that_never_reached_its_commit_is_counted_as_found(store: TableStore, proxy: Proxy) -> None:
    sink = store.sink("artists")
    proxy.lose_answer_to(b"COPY")

    with pytest.raises(StoreUnavailable):
        await sink.write(rows(2))

    assert await sink.write(rows(2)) == Outcomes(new=2)


# Servers that go away.


@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_after_a_restart_of_the_server_writing_goes_on(own_postgres: OwnPostgres, ending: str) -> None:
    async with own_schema(own_postgres.dsn) as dsn, open_store(settings(dsn, writers=2)) as store:
        sink = store.sink("artists")
        await sink.write(rows(2))

        await getattr(own_postgres, ending)()
        with pytest.raises(StoreUnavailable) as down:
            await sink.write(rows(3))
        await own_postgres.start()

        assert down.value.alarm is None
        assert await sink.write(rows(3)) == Outcomes(new=1, unchanged=2)


async def test_after_all_sessions_were_ended_the_next_writes_succeed(store: TableStore, dsn: str) -> None:
    sink = store.sink("artists")
    await sink.write(rows(1))
    await run(
        dsn,
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'tableinator' AND datname = current_database()""",
    )
    await _unavailable(store, rows(2))  # may be the one that notices

    assert (await sink.write(rows(3))).new >= 1


# Reading.


async def test_every_stored_row_is_read_as_it_is_stored(dsn: str) -> None:
    async with open_store(settings(dsn)) as store:
        bodies = {str(number): json.dumps({"n": number, "a": "é"}).encode() for number in range(1201)}
        await store.sink("artists").write([Row(each, f"h{each}", None, body) for each, body in bodies.items()])

    read = [each async for each in read_rows(settings(dsn).postgres, "artists")]

    assert {each.id: json.loads(each.data or b"") for each in read} == {k: json.loads(v) for k, v in bodies.items()}
    assert StoredRow("7", "h7", None, '{"a": "é", "n": 7}'.encode()) in read
    assert await count_rows(settings(dsn).postgres, ["artists"]) == {"artists": 1201}


async def test_a_row_that_nobody_can_read_back_ends_no_reader(dsn: str) -> None:
    patient = settings(dsn, command_timeout=600.0)  # writing a gigabyte out takes its time
    async with open_store(patient) as store:
        sink = store.sink("artists")
        await sink.write([row(f"a{number:04}") for number in range(700)])
        huge = b'{"n": [' + b",".join([b"1e131071"] * 9000) + b"]}"
        assert await sink.write([Row("huge", "h", None, huge)]) == Outcomes(new=1)
        await sink.write([row(f"b{number:04}") for number in range(700)])

    read = [each async for each in read_rows(patient.postgres, "artists")]

    assert len(read) == len({each.id for each in read}) == 1401
    assert [each.id for each in read if each.data is None] == ["huge"]


async def test_reading_a_store_that_is_down_is_unavailable(dsn: str, proxy: Proxy) -> None:
    proxy.cut()
    postgres = settings(at(dsn, port=proxy.port)).postgres

    with pytest.raises(StoreUnavailable):
        await count_rows(postgres, ["artists"])
    with pytest.raises(StoreUnavailable):
        async for _ in read_rows(postgres, "artists"):
            pass
