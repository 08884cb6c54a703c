"""Connections to PostgreSQL, and transactions on them, in which nothing can hang.

The server has a limit for every statement, and so has this side, a little later: the server speaks first unless it is
gone. A connection on which anything went wrong other than by the server's own word is ended, not used again: what it is
still doing is unknown, and waiting for it is what hangs.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self

import asyncpg
import structlog

from tableinator.classification import ERRORS
from tableinator.settings import PostgresSettings

log = structlog.get_logger()

_SERVERS_SHARE: Final = 0.8
"""The server's limit for a statement, as a share of ours: it needs the rest to say that its limit was reached."""

_CLOSING: Final = 2.0
"""Seconds for saying goodbye: a drain has 8 for everything."""


class Transaction:
    """A transaction under way. It ends rolled back unless `commit` was reached."""

    def __init__(self, connection: Any, *, limit: float) -> None:
        self._connection = connection
        self._limit = limit
        self.ended = False
        self.broken = False
        """Whether something other than the server's own word has ended a statement: a timeout, a cancellation."""

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run a statement, prepared at its first use on this connection, and return its rows."""
        rows: list[asyncpg.Record] = await self._limited(self._connection.fetch(statement, *arguments))
        return rows

    async def execute(self, statement: str, *arguments: Any) -> str:
        """Run a statement and return its command tag."""
        tag: str = await self._limited(self._connection.execute(statement, *arguments))
        return tag

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Copy rows into a table in PostgreSQL's binary format."""
        await self._limited(self._connection.copy_records_to_table(table, records=rows, columns=columns))

    async def commit(self) -> None:
        """Make it last. When this raises, whether it does is unknown."""
        tag = await self.execute("COMMIT")
        self.ended = True
        if tag != "COMMIT":
            raise asyncpg.TransactionRollbackError(f"COMMIT was answered by {tag}")

    async def rollback(self) -> None:
        """Undo everything."""
        await self.execute("ROLLBACK")
        self.ended = True

    async def _limited(self, answer: Awaitable[Any]) -> Any:
        try:
            # The driver's own limit does not cover a COPY to a server that has stopped reading.
            async with asyncio.timeout(self._limit):
                return await answer
        except asyncpg.PostgresError:
            raise
        except BaseException:
            self.broken = True
            raise


class Connections:
    """As many connections as there are writers, made when first needed: nobody ever waits for one."""

    def __init__(self, settings: PostgresSettings, *, size: int) -> None:
        self._settings = settings
        self._limit = settings.command_timeout
        self.size = size
        self.in_use = 0
        self._pool = asyncpg.create_pool(
            settings.dsn.get_secret_value(),
            min_size=0,  # with more, the pool would reconnect on its own, and log tracebacks when it can't
            max_size=size,
            init=_prepare,
            reset=_leave_as_it_is,
            timeout=settings.connect_timeout,
            server_settings=_session(settings),
        )

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(self._settings.connect_timeout):
            await self._pool
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            async with asyncio.timeout(_CLOSING):
                await self._pool.close()
        except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self._pool.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction, which the body commits; else it is rolled back.

        Raises: what the driver raises, TimeoutError for a connection that could not be had in time included.
        """
        async with asyncio.timeout(self._settings.connect_timeout):
            connection = await self._pool.acquire()
        self.in_use += 1
        transaction = Transaction(connection, limit=self._limit)
        try:
            # Said, because a database may have another default, under which every race would be an error.
            await transaction.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            yield transaction
        finally:
            try:
                await _end(connection, transaction)
            finally:
                self.in_use -= 1
                await self._pool.release(connection, timeout=_CLOSING)


async def connect(settings: PostgresSettings, *, reading: bool = False) -> Any:
    """Make a connection outside of any pool, which the caller closes. `reading`: for scans of whole tables."""
    async with asyncio.timeout(settings.connect_timeout):
        connection = await asyncpg.connect(
            settings.dsn.get_secret_value(),
            timeout=settings.connect_timeout,
            server_settings=_session(settings) | (_READING if reading else {}),
        )
        await _prepare(connection)
    return connection


_READING: Final = {"enable_seqscan": "on", "idle_in_transaction_session_timeout": "0"}


def _session(settings: PostgresSettings) -> dict[str, str]:
    limit = round(settings.command_timeout * _SERVERS_SHARE * 1000)  # the server counts milliseconds
    return {
        "application_name": "tableinator",
        "statement_timeout": f"{limit}",
        # Waiting for another's lock is no reason to take fewer records: it ends before the statement's own limit, as a
        # conflict.
        "lock_timeout": f"{limit // 2}",
        # A client that was lost in the middle of a transaction must not hold its locks for ever.
        "idle_in_transaction_session_timeout": f"{limit * 2}",
        # The look-up's plan is made while the table is small and kept while it grows by a million rows a minute: it
        # must never be a scan of the table.
        "enable_seqscan": "off",
    }


async def _prepare(connection: Any) -> None:
    """Let jsonb take and give bytes: a message's body goes in as it came. jsonb's binary form is a 1, then the text."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda body: b"\x01" + body,
        decoder=lambda value: bytes(value[1:]),
        format="binary",
    )


async def _leave_as_it_is(_: object) -> None:
    """No reset between transactions: they leave nothing behind, and a round trip per batch costs more than nothing."""


async def _end(connection: Any, transaction: Transaction) -> None:
    """Undo what was not committed; where that can't be done in good order, end the connection."""
    try:
        if not transaction.ended and not transaction.broken:
            await transaction.rollback()
    except ERRORS as error:
        log.debug("Rollback failed, connection ended", reason=type(error).__name__)
    finally:
        if transaction.broken or not transaction.ended:
            with suppress(asyncpg.InterfaceError):  # it was lost before, and has left the pool by itself
                connection.terminate()
