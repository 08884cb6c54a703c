"""Other clients, which are in a store's way."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import asyncpg
from neo4j import Query
from neo4j.exceptions import ClientError, TransientError

from spindle.advice.limits import Limit
from tests.integration import graphs
from tests.provocations.situations import GRAPH, TABLES, provoked
from tests.provocations.stage import Stage

_IDS = 6
"""Records that a transaction locks."""
_STEP = 0.03
"""Seconds between two locks: time for the service to take the next one."""
_LIMIT = 5.0
"""Seconds for one statement."""
_LONG = 120.0
"""Seconds for a statement that computes beside many others: longer than any situation."""
_CLIENTS = 8
"""Many more than there are cores."""


@asynccontextmanager
async def _client(stage: Stage) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(stage.tables.dsn, timeout=10.0)
    try:
        yield connection
    finally:
        connection.terminate()


@provoked("another client locks the table four fifths of the time", Limit.STORE_LOCKS, of=TABLES)
async def locked_table(stage: Stage) -> AsyncIterator[None]:
    """As a report does that must see a table at rest."""
    await stage.start()
    stage.feed()
    await stage.busy()

    async def lock() -> None:
        async with _client(stage) as client:
            while True:
                async with client.transaction():
                    await client.execute("LOCK TABLE releases IN SHARE MODE")
                    await asyncio.sleep(0.8)
                await asyncio.sleep(0.2)

    stage.do(lock(), "rival")
    yield


_TIME_IS_UP = re.compile("TransactionTimedOut|LockClientStopped|Terminated")

_HELD = """\
MATCH (n:Release) WHERE n.hash IS NOT NULL WITH n ORDER BY n.id
WITH collect(n) AS known UNWIND range(0, size(known) - 1, 40) AS i
WITH known[i] AS n SET n.rival = true"""
"""One release of forty, in the order in which the service takes them: some of each batch."""


@contextmanager
def _losing() -> Iterator[None]:
    """A transaction may lose a deadlock, or its time may be up; whatever else ends one is a fault here."""
    try:
        yield
    except TransientError:
        pass
    except ClientError as error:
        if not _TIME_IS_UP.search(error.code or ""):
            raise


async def _hold_releases(stage: Stage, *, held: float, free: float) -> None:
    """Hold releases of the feed for so many seconds, then none for so many, again and again; change nothing."""
    async with graphs.driver(stage.servers.neo4j) as driver:
        while True:
            async with driver.session(database=stage.servers.neo4j.database) as session:
                with _losing():
                    transaction = await session.begin_transaction(timeout=_LIMIT)
                    try:
                        await (await transaction.run(_HELD)).consume()
                        await asyncio.sleep(held)
                    finally:
                        await transaction.close()
            await asyncio.sleep(free)


@provoked("another client holds the nodes four fifths of the time", Limit.STORE_LOCKS, of=GRAPH, beside={Limit.RETRIES})
async def locked_nodes(stage: Stage) -> AsyncIterator[None]:
    """As a long update of somebody else's does."""
    await stage.start()
    stage.feed()
    await stage.busy(2_500)
    stage.do(_hold_releases(stage, held=0.8, free=0.2), "rival")
    yield


_COMPUTING = "UNWIND range(1, 20000000) AS i WITH i WHERE sqrt(i) < 0 RETURN count(i)"
"""Some seconds of a core, and no memory."""


@provoked(f"{_CLIENTS} other transactions have Neo4j compute", Limit.STORE, of=GRAPH)
async def crowded_graph(stage: Stage) -> AsyncIterator[None]:
    """As somebody's reports do, for which Neo4j has too few cores."""
    await stage.start()
    stage.feed()
    await stage.busy()

    async def compute() -> None:
        async with graphs.driver(stage.servers.neo4j) as driver:
            while True:
                async with driver.session(database=stage.servers.neo4j.database) as session:
                    await (await session.run(Query(_COMPUTING, timeout=_LONG))).consume()

    for number in range(_CLIENTS):
        stage.do(compute(), f"rival {number}")
    yield


@provoked(
    "another client holds the nodes for 2.9 of 3 s, from 16 s to 34 s of 50 s, at 300 records a second",
    Limit.STORE_LOCKS,
    of=GRAPH,
    beside={Limit.RETRIES},
    seconds=50,
)
async def locked_in_the_middle(stage: Stage) -> AsyncIterator[None]:
    """A store that is slow for a while in the middle of a load."""
    await stage.start({"NEO4J_BATCH_SIZE": "100"})
    stage.feed(rate=300)
    await stage.busy(2_500)

    async def for_a_while() -> None:
        await asyncio.sleep(16)
        with suppress(TimeoutError):
            async with asyncio.timeout(18):
                await _hold_releases(stage, held=2.9, free=0.1)

    stage.do(for_a_while(), "rival")
    yield


@provoked(
    "another client locks the same records the other way round",
    Limit.RETRIES,
    of=TABLES,
    beside={Limit.STORE_LOCKS, Limit.STORE, Limit.STORE_CPU, Limit.STORE_DISK, Limit.ROUND_TRIPS, Limit.STORE_AWAY},
)
async def deadlocks(stage: Stage) -> AsyncIterator[None]:
    """Of each deadlock one transaction is rolled back; after six in a row the breaker opens."""
    await stage.start()
    stage.feed(records=1_800)
    await stage.busy()
    stage.do(_rival(stage), "rival")
    yield


async def _rival(stage: Stage) -> None:
    async with _client(stage) as client:
        await client.execute("SET deadlock_timeout = '10s'")  # so that it is the service's transaction that looks
        known = [row["data_id"] for row in await client.fetch("SELECT data_id FROM releases")]
        while True:
            ids = sorted(random.sample(known, _IDS), reverse=True)
            with suppress(asyncpg.TransactionRollbackError, TimeoutError):  # it has lost a deadlock, or waits too long
                async with client.transaction():
                    for each in ids:
                        locking = "SELECT 1 FROM releases WHERE data_id = $1 FOR UPDATE"
                        await client.execute(locking, each, timeout=_LIMIT)
                        await asyncio.sleep(_STEP)
