"""A Neo4j of the tests' own: killed, restarted, short of memory, read-only; and readers and writers that survive it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest

import graphinator.store
from common.errors import BatchTooLarge, RecordsRefused, StoreUnavailable
from common.outcomes import Outcomes
from devstack.stack import neo4j as recipe
from graphinator.projection import GraphRecord
from graphinator.sink import GraphSink
from tests.contract.proxy import cuttable_proxy
from tests.integration.graphs import address, driver, edges, nodes, opened, record
from tests.servers.native import OwnNeo4j
from tests.servers.servers import Neo4j


def artists(count: int, title: str = "first", groups: int = 1) -> list[GraphRecord]:
    others = [{"id": f"group {number}"} for number in range(groups)]
    return [record("artists", f"{number:05}", name=title, groups=others) for number in range(count)]


@asynccontextmanager
async def configured(own: OwnNeo4j, monkeypatch: pytest.MonkeyPatch, line: str) -> AsyncIterator[None]:
    """Restart the server with one more line of configuration; afterwards it is stopped, and forgets the line."""
    await own.stop()
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "_CONFIGURATION", f"{recipe._CONFIGURATION}\n{line}\n")
        await own.start()
    try:
        yield
    finally:
        await own.stop()


async def assert_held(sink: GraphSink, batch: list[GraphRecord]) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as outage:
        await sink.write(batch)
    return outage.value


async def test_a_killed_server_is_an_outage_and_writes_go_on_when_it_is_back(own_neo4j: OwnNeo4j) -> None:
    async with opened(own_neo4j, writers=2) as store:
        sink = store.sink("artists")
        await sink.write(artists(3))

        await own_neo4j.kill()
        for _ in range(3):
            outage = await assert_held(sink, artists(5))
            assert outage.alarm is None
        await own_neo4j.start()

        assert await sink.write(artists(5)) == Outcomes(new=2, unchanged=3)
        assert len(await edges(own_neo4j)) == 5
        assert store.pool_in_use() == 0


async def test_a_batch_beyond_the_servers_memory_limit_is_too_large_and_a_record_alone_is_refused(
    own_neo4j: OwnNeo4j, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with configured(own_neo4j, monkeypatch, "db.memory.transaction.max=2m"), opened(own_neo4j) as store:
        sink = store.sink("artists")
        with pytest.raises(BatchTooLarge) as too_large:
            await sink.write(artists(4000, groups=3))
        assert too_large.value.refusal.code.endswith("MemoryPoolOutOfMemoryError")

        with pytest.raises(RecordsRefused) as refused:
            await sink.write(artists(1, groups=20_000))
        assert refused.value.certain

        assert (await sink.write(artists(50, groups=3))).new == 50


async def test_a_read_only_database_is_an_outage_with_an_alarm(
    own_neo4j: OwnNeo4j, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 24."""
    async with opened(own_neo4j) as store:
        await store.sink("artists").write(artists(1))
    read_only = f"server.databases.read_only={own_neo4j.database}"
    async with configured(own_neo4j, monkeypatch, read_only), opened(own_neo4j) as store:
        outage = await assert_held(store.sink("artists"), artists(1, "changed"))

        assert outage.alarm is not None
        assert await store.sink("artists").write(artists(1)) == Outcomes(unchanged=1)


async def test_memory_that_others_have_used_up_is_an_outage_and_no_records_fault(
    own_neo4j: OwnNeo4j, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 77."""
    shared = "dbms.memory.transaction.total.max=20m"
    async with (
        configured(own_neo4j, monkeypatch, shared),
        opened(own_neo4j) as store,
        driver(own_neo4j) as others,
        others.session() as session,
    ):
        sink, number = store.sink("artists"), count()
        holder = await session.begin_transaction(timeout=120)
        outage = None
        while outage is None:
            await (await holder.run("UNWIND range(1, 200) AS x CREATE (:Theirs {text: toString(x)})")).consume()
            try:
                await sink.write([record("artists", f"{next(number)}")])
            except StoreUnavailable as error:
                outage = error
        await holder.rollback()

        assert "dbms.memory.transaction.total.max" in (outage.alarm or "")
        assert (await sink.write([record("artists", "afterwards")])).new == 1


@asynccontextmanager
async def moving(one: OwnNeo4j, other: Neo4j) -> AsyncIterator[Neo4j]:
    """A login that both servers know."""
    user = "mover"
    for server in (one, other):
        async with driver(server) as direct:
            statement = f"CREATE USER {user} IF NOT EXISTS SET PASSWORD $word CHANGE NOT REQUIRED"
            await direct.execute_query(statement, {"word": "moving house"}, database_="system")
    yield Neo4j(one.uri, user, "moving house")
    for server in (one, other):
        async with driver(server) as direct:
            await direct.execute_query(f"DROP USER {user}", database_="system")


async def test_a_server_that_says_not_here_is_left_for_the_one_to_which_its_name_leads_by_now(
    own_neo4j: OwnNeo4j, empty_neo4j: Neo4j, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 84."""
    async with opened(own_neo4j), opened(empty_neo4j):
        pass  # both have their constraints
    async with moving(own_neo4j, empty_neo4j) as login, cuttable_proxy(*address(own_neo4j)) as proxy:
        read_only = f"server.databases.read_only={own_neo4j.database}"
        async with configured(own_neo4j, monkeypatch, read_only), opened(login, port=proxy.port, writers=1) as store:
            sink = store.sink("artists")
            await assert_held(sink, artists(1))
            proxy.lead_to(*address(empty_neo4j))

            assert (await sink.write(artists(1))).new == 1
        await own_neo4j.start()

    assert set(await nodes(empty_neo4j, "Artist")) == {"00000", "group 0"}


async def test_no_connection_gets_so_old_that_a_name_that_moved_is_not_noticed(
    own_neo4j: OwnNeo4j, empty_neo4j: Neo4j, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 84: the old server is alive, and takes what it is given."""
    assert 0 < graphinator.store._LIFETIME_SECONDS <= 300
    monkeypatch.setattr("graphinator.store._LIFETIME_SECONDS", 1e-6)
    async with opened(empty_neo4j):
        pass
    async with (
        moving(own_neo4j, empty_neo4j) as login,
        cuttable_proxy(*address(own_neo4j)) as proxy,
        opened(login, port=proxy.port, writers=1) as store,
    ):
        await store.sink("artists").write(artists(1))
        proxy.lead_to(*address(empty_neo4j))

        assert (await store.sink("artists").write(artists(1))).new == 1

    assert set(await nodes(empty_neo4j, "Artist")) == {"00000", "group 0"}
