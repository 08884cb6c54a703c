"""A Neo4j of the tests' own: killed, restarted, short of memory, read-only; and readers and writers that survive it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common.errors import BatchTooLarge, RecordsRefused, StoreUnavailable
from common.sink import Outcomes
from devstack.stack import neo4j as recipe
from graphinator.projection import GraphRecord
from graphinator.sink import GraphSink
from tests.integration.graphs import edges, opened, record
from tests.servers.native import OwnNeo4j


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
