"""A transaction in which nothing can hang.

Every statement has a limit on this side. A connection on which anything went wrong other than by the server's own word
is ended, not used again: what it is still doing is unknown, and waiting for it is what hangs.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import structlog

from tableinator.classification import ERRORS, NotReplicated
from tableinator.sqlstates import ends_sessions, is_of_a_pooler

log = structlog.get_logger()


class Transaction:
    """A transaction under way. It ends rolled back unless `commit` was reached."""

    def __init__(self, connection: Any, *, limit: float) -> None:
        self._connection = connection
        self._limit = limit
        self.ended = False
        self.replicated: bool = connection.facts.replicated
        """Whether a commit waits for a standby."""
        self.version: int = connection.facts.version
        """The server's, such as 18."""
        self.broken = False
        """Whether the session must end with it: something other than the server's own word has ended a statement (a
        timeout, a cancellation), or the server is the wrong one.
        """
        self.elsewhere = False
        """Whether other sessions as old as this one are no better."""
        self.pooled = False
        """Whether a pooler does not keep this session's prepared statements."""

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run a statement, prepared at its first use on this connection, and return its rows."""
        rows: list[asyncpg.Record] = await self._limited(self._connection.fetch(statement, *arguments))
        return rows

    async def execute(self, statement: str, *arguments: Any) -> str:
        """Run a statement and return its command tag."""
        tag: str = await self._limited(self._connection.execute(statement, *arguments))
        return tag

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> int:
        """Copy rows into a table in PostgreSQL's binary format; return how many the server counts."""
        tag = await self._limited(self._connection.copy_records_to_table(table, records=rows, columns=columns))
        return int(tag.rpartition(" ")[2])

    async def commit(self) -> None:
        """Make it last. When this raises, whether it does is unknown."""
        lacking: list[str] = []

        def listen(_: object, message: Any) -> None:
            # The function's name, because the words follow the server's lc_messages.
            if message.server_source_function == "SyncRepWaitForLSN":
                lacking.append(message.message)

        self._connection.add_log_listener(listen)
        try:
            tag = await self.execute("COMMIT")
        finally:
            self._connection.remove_log_listener(listen)
        self.ended = True
        if lacking:
            raise NotReplicated(lacking[0])
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
        except asyncpg.PostgresError as error:
            self._learn(error)
            raise
        except BaseException:
            self.broken = True
            raise

    def _learn(self, error: asyncpg.PostgresError) -> None:
        self.pooled = self.pooled or is_of_a_pooler(error)
        if self.pooled or ends_sessions(error):
            self.broken = self.elsewhere = True


async def end(connection: Any, transaction: Transaction) -> None:
    """Undo what was not committed; if that can't be done in good order, end the connection, and wait for nothing."""
    try:
        if not transaction.ended and not transaction.broken:
            await transaction.rollback()
    except ERRORS as error:
        log.debug("Rollback failed, connection ended", reason=type(error).__name__)
    finally:
        if transaction.broken or not transaction.ended:
            with suppress(asyncpg.InterfaceError):  # it was lost before, and has left the pool by itself
                connection.terminate()
