"""A consumer as the old system had it, for comparison: `python -m bench.peers.per_message rows|batches`.

`rows`: prefetch 50; for each message a look-up of the hash, then the row, each committed by itself, then an
acknowledgement. `batches`: its recipe for batches, 500 records or 5 s, on a prefetch of 10: no batch is ever full.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import asyncpg
from aio_pika.abc import AbstractIncomingMessage

CONNECT_TIMEOUT = 10.0
STATEMENT_TIMEOUT = 60.0
ROW_PREFETCH = 50
BATCH_PREFETCH, BATCH_SIZE, BATCH_INTERVAL = 10, 500, 5.0
_TICK = 0.1

LOOK_UP = "SELECT hash FROM releases WHERE data_id = $1"
LOOK_UP_ALL = "SELECT data_id, hash FROM releases WHERE data_id = ANY($1)"
WRITE = """\
INSERT INTO releases (data_id, hash, data) VALUES ($1, $2, $3)
ON CONFLICT (data_id) DO UPDATE SET hash = excluded.hash, data = excluded.data, updated_at = now()"""

Take = Callable[[AbstractIncomingMessage], Awaitable[None]]


def row_of(body: bytes) -> tuple[str, str, str]:
    """Id, hash and document, parsed and written again as the old system did."""
    record: dict[str, Any] = json.loads(body)
    return record["id"], record["sha256"], json.dumps(record)


def rows(pool: asyncpg.Pool) -> Take:
    """Store each message by itself."""

    async def take(message: AbstractIncomingMessage) -> None:
        record_id, sha256, document = row_of(message.body)
        async with pool.acquire() as connection:
            if await connection.fetchval(LOOK_UP, record_id) != sha256:
                await connection.execute(WRITE, record_id, sha256, document)
        await message.ack()

    return take


class Batches:
    """Collect messages until there are enough of them, or for long enough."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: list[AbstractIncomingMessage] = []
        self._since = time.monotonic()
        self._flushing = asyncio.Lock()

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Add a message."""
        self._waiting.append(message)
        if len(self._waiting) >= BATCH_SIZE:
            await self._flush()

    async def keep_time(self) -> None:
        """Flush by the interval, forever."""
        while True:
            await asyncio.sleep(_TICK)
            if time.monotonic() - self._since >= BATCH_INTERVAL:
                await self._flush()

    async def _flush(self) -> None:
        async with self._flushing:
            batch, self._waiting = self._waiting, []
            if batch:
                await self._store({row[0]: row for row in (row_of(message.body) for message in batch)})
            for message in batch:
                await message.ack()
            self._since = time.monotonic()

    async def _store(self, latest: dict[str, tuple[str, str, str]]) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            stored: dict[str, str] = {row[0]: row[1] for row in await connection.fetch(LOOK_UP_ALL, list(latest))}
            await connection.executemany(WRITE, [row for row in latest.values() if stored.get(row[0]) != row[1]])


async def consume(recipe: str, *, broker: str, queue: str, dsn: str) -> None:
    """Consume until told to stop; print `ready` once it does."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connection = await aio_pika.connect(broker, timeout=CONNECT_TIMEOUT)
    async with (
        connection,
        asyncpg.create_pool(dsn, min_size=2, max_size=10, command_timeout=STATEMENT_TIMEOUT) as pool,
        asyncio.TaskGroup() as tasks,
    ):
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=ROW_PREFETCH if recipe == "rows" else BATCH_PREFETCH)
        found = await channel.get_queue(queue)
        batches = Batches(pool)
        clock = tasks.create_task(batches.keep_time(), name="interval")
        await found.consume(rows(pool) if recipe == "rows" else batches.take)
        print("ready", flush=True)
        await stop.wait()
        clock.cancel()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("rows", "batches"):
        raise SystemExit("which: rows or batches")
    environ = os.environ
    asyncio.run(consume(sys.argv[1], broker=environ["AMQP_URL"], queue=environ["QUEUE"], dsn=environ["DSN"]))
