"""Two real servers: after a switchover records go to the new primary, and what a standby lacks is not acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest

from common.errors import StoreUnavailable
from common.outcomes import Outcomes
from tableinator.connections import Connections
from tableinator.sink import TableSink
from tableinator.store import open_store
from tests.contract.proxy import cuttable_proxy
from tests.integration.tables import at, fetch, row, run, settings
from tests.servers.native import OwnPostgres
from tests.servers.standby import Standby, standby_of


@pytest.fixture
def standby(own_postgres: OwnPostgres) -> Iterator[Standby]:
    """A standby of the test's own server, which is as it was afterwards."""
    with standby_of(own_postgres) as standby:
        yield standby


@pytest.fixture
async def primary(own_postgres: OwnPostgres, standby: Standby) -> AsyncIterator[str]:
    """The first primary's DSN."""
    try:
        yield own_postgres.dsn
    finally:
        for setting in ("default_transaction_read_only", "synchronous_standby_names"):
            await run(own_postgres.dsn, "SET default_transaction_read_only = off", f"ALTER SYSTEM RESET {setting}")
        await run(own_postgres.dsn, "SELECT pg_reload_conf()")


def both(primary: str, standby: Standby) -> str:
    """A DSN of two hosts."""
    one, two = urlsplit(primary), urlsplit(standby.dsn)
    login = one.netloc.rpartition("@")[0]
    return one._replace(netloc=f"{login}@127.0.0.1:{one.port},127.0.0.1:{two.port}").geturl()


async def caught_up(standby: Standby) -> None:
    """Wait until the standby has the table."""
    async with asyncio.timeout(60):
        while not (await fetch(standby.dsn, "SELECT to_regclass('artists') IS NOT NULL"))[0][0]:
            await asyncio.sleep(0.05)  # another process, which tells nobody


async def demote(dsn: str) -> None:
    """Make a server read-only, as an old primary is that was rewound or fenced."""
    await run(dsn, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    async with asyncio.timeout(30):
        while (await fetch(dsn, "SHOW default_transaction_read_only"))[0][0] != "on":
            await asyncio.sleep(0.05)


async def write_until_stored(sink: TableSink, number: int, tries: int) -> Outcomes:
    """As the breaker does, but without waiting."""
    for _ in range(tries):
        try:
            return await sink.write([row(str(number))])
        except StoreUnavailable:
            pass
    raise AssertionError(f"not stored in {tries} tries")


async def test_after_a_switchover_sessions_go_to_the_new_primary(primary: str, standby: Standby) -> None:
    """Fault 84."""
    async with open_store(settings(both(primary, standby), kinds=("artists", "labels"), writers=2)) as store:
        sink = store.sink("artists")
        await asyncio.gather(*(sink.write([row(str(number))]) for number in range(4)))  # several sessions
        await caught_up(standby)

        standby.promote()
        await demote(primary)
        outcome = await write_until_stored(sink, 4, tries=2)
        await asyncio.gather(*(sink.write([row(str(number))]) for number in range(5, 9)))

    stored = [{each[0] for each in await fetch(dsn, "SELECT data_id FROM artists")} for dsn in (standby.dsn, primary)]
    assert outcome == Outcomes(new=1)
    assert stored == [{str(number) for number in range(9)}, {"0", "1", "2", "3"}]


async def test_a_name_that_moved_is_followed(primary: str, standby: Standby) -> None:
    """Fault 84. The proxy is the name."""
    parts = urlsplit(primary)
    async with (
        cuttable_proxy("127.0.0.1", parts.port or 0) as name,
        open_store(settings(at(primary, port=name.port), writers=2)) as store,
    ):
        sink = store.sink("artists")
        await asyncio.gather(*(sink.write([row(str(number))]) for number in range(4)))
        await caught_up(standby)

        standby.promote()
        name.lead_to("127.0.0.1", urlsplit(standby.dsn).port or 0)  # its connections stay with the old one
        await demote(primary)
        await write_until_stored(sink, 4, tries=2)

    assert [tuple(each) for each in await fetch(standby.dsn, "SELECT FROM artists WHERE data_id = '4'")] == [()]


async def test_a_session_grows_only_so_old(primary: str) -> None:
    """Fault 84."""
    pid = "SELECT pg_backend_pid() AS pid"
    pids = []
    async with Connections(settings(primary).postgres, size=1, age=0.0) as connections:
        for _ in range(2):
            async with connections.transaction() as transaction:
                pids.append((await transaction.fetch(pid))[0]["pid"])
    async with Connections(settings(primary).postgres, size=1) as connections:
        for _ in range(2):
            async with connections.transaction() as transaction:
                pids.append((await transaction.fetch(pid))[0]["pid"])

    assert pids[0] != pids[1]
    assert pids[2] == pids[3]


async def test_two_hosts_of_which_none_takes_writes_are_an_alarm(primary: str, standby: Standby) -> None:
    async with open_store(settings(both(primary, standby))) as store:
        sink = store.sink("artists")
        await sink.write([row("1")])

        await demote(primary)
        with pytest.raises(StoreUnavailable):
            await sink.write([row("2")])
        with pytest.raises(StoreUnavailable) as nobody:
            await sink.write([row("2")])

    assert nobody.value.alarm is not None and "takes writes" in nobody.value.alarm


async def test_a_host_that_says_nothing_leaves_time_for_the_next(primary: str) -> None:
    parts = urlsplit(primary)
    async with cuttable_proxy("127.0.0.1", parts.port or 0) as silent:
        silent.freeze()
        login = parts.netloc.rpartition("@")[0]
        dsn = parts._replace(netloc=f"{login}@127.0.0.1:{silent.port},127.0.0.1:{parts.port}").geturl()
        async with asyncio.timeout(60), open_store(settings(dsn, connect_timeout=10.0)) as store:
            assert await store.sink("artists").write([row("1")]) == Outcomes(new=1)


# Synchronous replication.


@pytest.fixture
async def replicated(primary: str, standby: Standby) -> str:
    """A primary that waits for its standby."""
    async with open_store(settings(primary)):
        pass
    await caught_up(standby)
    await run(primary, "ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")
    async with asyncio.timeout(30):
        while not await fetch(primary, "SELECT FROM pg_stat_replication WHERE sync_state = 'sync'"):
            await asyncio.sleep(0.05)
    return primary


WAITING = """SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'tableinator'
    AND datname = current_database()"""


async def end_the_wait(dsn: str, how: str) -> None:
    """End the session, or the statement, that waits for the standby."""
    async with asyncio.timeout(60):
        while not (waiting := await fetch(dsn, WAITING)):
            await asyncio.sleep(0.02)
    await fetch(dsn, f"SELECT {how}($1)", waiting[0]["pid"])


@pytest.mark.parametrize("how", ["pg_terminate_backend", "pg_cancel_backend"])
@pytest.mark.parametrize("again", ["the same process", "another process"])
async def test_what_a_standby_lacks_is_not_acknowledged(
    replicated: str, standby: Standby, how: str, again: str
) -> None:
    """Fault 86."""
    async with open_store(settings(replicated)) as store, open_store(settings(replicated)) as other:
        first = store.sink("artists")
        standby.stop()
        async with asyncio.TaskGroup() as group:
            write = group.create_task(_error_of(first, "1"))
            await end_the_wait(replicated, how)
        assert [tuple(each) for each in await fetch(replicated, "SELECT data_id FROM artists")] == [("1",)]

        second = first if again == "the same process" else other.sink("artists")
        async with asyncio.TaskGroup() as group:
            retry = group.create_task(second.write([row("1")]))
            async with asyncio.timeout(60):
                while not await fetch(replicated, WAITING):
                    assert not retry.done()
                    await asyncio.sleep(0.02)
            standby.start()

    assert isinstance(write.result(), StoreUnavailable)
    assert retry.result() == (Outcomes(new=1) if second is first else Outcomes(unchanged=1))
    assert [tuple(each) for each in await fetch(standby.dsn, "SELECT data_id FROM artists")] == [("1",)]


async def _error_of(sink: TableSink, record_id: str) -> object:
    try:
        return await sink.write([row(record_id)])
    except StoreUnavailable as error:
        return error
