"""Stores that are slow by themselves, distant, or missing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common.kinds import KINDS
from spindle.advice.limits import Limit
from tests.integration import tables
from tests.provocations.situations import BOTH, GRAPH, TABLES, provoked
from tests.provocations.stage import RELEASES, Stage

_AWAY = 30.0
"""Seconds until a service must have seen that its store is away."""


@provoked("a trigger sleeps 0.5 s for each batch", Limit.STORE, of=TABLES)
async def slow_store(stage: Stage) -> AsyncIterator[None]:
    """PostgreSQL waits for nothing that it has a word for."""
    await stage.start({"POSTGRES_WRITERS": "1"})
    await stage.sql(*tables.slowed_by("pg_sleep(0.5)"))
    stage.feed()
    await stage.busy()
    yield


@provoked("a trigger sleeps 0.5 s for each batch of releases; 600 of the other kinds a second", Limit.STORE, of=TABLES)
async def slow_for_one_kind(stage: Stage) -> AsyncIterator[None]:
    """What the other kinds do, which keep up in small batches, says nothing of it."""
    await stage.start(kinds=KINDS)
    await stage.sql(*tables.slowed_by("pg_sleep(0.5)"))
    stage.feed()
    stage.feed(kinds=[kind for kind in KINDS if kind not in RELEASES], rate=600)
    await stage.busy()
    yield


@provoked("a trigger sleeps 20 ms for each row, which makes the batches small", Limit.STORE, of=TABLES, seconds=14)
async def slow_rows(stage: Stage) -> AsyncIterator[None]:
    """The service has made its batches smaller by itself: larger ones would not help."""
    await stage.start({"POSTGRES_BATCH_SIZE": "100"})
    await stage.sql(*tables.slowed_by("pg_sleep(0.02)", each="ROW"))
    stage.feed()
    await stage.running.until(
        lambda: stage.running.metrics().sum("spindle_batch_size_limit_records") <= 50, "at small batches"
    )
    yield


@provoked(
    "a trigger sleeps 2 s for each batch, from 16 s to 34 s of 50 s, at 800 records a second",
    Limit.STORE,
    of=TABLES,
    beside={Limit.STORE_CPU, Limit.ROUND_TRIPS},  # while it makes up for it, if the machine is busy
    seconds=50,
)
async def slow_in_the_middle(stage: Stage) -> AsyncIterator[None]:
    """A store that is slow for a while in the middle of a load."""
    await stage.start({"POSTGRES_WRITERS": "1", "POSTGRES_BATCH_ADAPTIVE": "false"})
    stage.feed(rate=800)
    await stage.busy()

    async def slow_down() -> None:
        await asyncio.sleep(16)
        await stage.sql(*tables.slowed_by("pg_sleep(2)"))
        await asyncio.sleep(18)
        await stage.sql("DROP FUNCTION slow CASCADE")

    stage.do(slow_down(), "slow for a while")
    yield


@provoked("two GIN indexes over the records, written at once (fastupdate off)", Limit.STORE_CPU, of=TABLES)
async def busy_store(stage: Stage) -> AsyncIterator[None]:
    """PostgreSQL computes: more than it must for the rows."""
    await stage.start()
    await stage.sql(
        "CREATE INDEX ON releases USING gin (data) WITH (fastupdate = off)",
        "CREATE INDEX ON releases USING gin (data jsonb_path_ops) WITH (fastupdate = off)",
    )
    stage.feed()
    await stage.busy()
    yield


@provoked("records wait, and nothing else is in the way", Limit.STORE, of=GRAPH)
async def busy_graph(stage: Stage) -> AsyncIterator[None]:
    """Neo4j works: it receives parameters, computes, and commits, none of them most of the time."""
    await stage.start()
    stage.feed()
    await stage.busy()
    yield


@asynccontextmanager
async def _restarted(stage: Stage, **settings: str) -> AsyncIterator[None]:
    """PostgreSQL with other settings, from its start."""
    server = stage.servers.postgres
    try:
        await stage.sql(*(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()))
        await server.stop()
        await server.start()
        yield
    finally:
        await stage.sql("ALTER SYSTEM RESET ALL")
        await server.stop()
        await server.start()


SYNCHRONOUS = {"wal_sync_method": "open_sync", "wal_buffers": "32kB"}
"""Each few blocks of the log are written through to the disk before more of it can be."""


@provoked(
    "the log is written through (wal_sync_method=open_sync, wal_buffers=32kB), by four writers",
    Limit.STORE_DISK,
    of=TABLES,
)
async def slow_disk(stage: Stage) -> AsyncIterator[None]:
    """PostgreSQL waits for its log."""
    async with _restarted(stage, **SYNCHRONOUS, max_wal_size="4GB"):
        await stage.start({"POSTGRES_WRITERS": "4"})  # of which one writes the log, and the others wait for that
        stage.feed()
        await stage.busy()
        yield


@provoked("the same, and a checkpoint after each 16 MB of log: max_wal_size=32MB", Limit.CHECKPOINT, of=TABLES)
async def checkpoints(stage: Stage) -> AsyncIterator[None]:
    """PostgreSQL waits for its disk while it writes a checkpoint, which is nearly always."""
    async with _restarted(stage, **SYNCHRONOUS, min_wal_size="32MB", max_wal_size="32MB"):
        await stage.start()
        stage.feed()
        await stage.busy(5_000)
        yield


@provoked("a network of 25 ms, either way, before the store", Limit.ROUND_TRIPS, of=BOTH)
async def distant_store(stage: Stage) -> AsyncIterator[None]:
    """The way to the store takes more time than the store."""
    weather, behind = await stage.weather("store")
    await stage.start(behind=behind)
    stage.feed()
    await stage.busy()
    weather.latency = 0.025
    await stage.busy(stage.running.settled() + 2_000)
    yield


@provoked("every connection to the store is ended, and every new one", Limit.STORE_AWAY, of=BOTH)
async def cut_store(stage: Stage) -> AsyncIterator[None]:
    """The way to the store is cut."""
    weather, behind = await stage.weather("store")
    await stage.start(behind=behind)
    stage.feed()
    await stage.busy()
    weather.cut()
    await stage.running.until(lambda: stage.running.ready()[0] == 503, "red", seconds=_AWAY)
    yield


@provoked("the network to the store falls silent, connections stay open", Limit.STANDSTILL, of=BOTH, seconds=22)
async def silent_store(stage: Stage) -> AsyncIterator[None]:
    """Transactions are under way, and none ends."""
    weather, behind = await stage.weather("store")
    await stage.start(behind=behind)
    stage.feed()
    await stage.busy()
    weather.freeze()
    yield
    weather.mend()
