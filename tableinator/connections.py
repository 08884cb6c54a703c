"""Connections to PostgreSQL: a pool of one for every writer. None grows old, and none stays with the wrong server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import asyncpg

from tableinator.sessions import OPERATOR, Session, beginning, beginning_to_read, door_of, open_session
from tableinator.settings import PostgresSettings
from tableinator.transaction import Transaction, end

_CLOSING: Final = 2.0
"""Seconds for saying goodbye: a drain has 8 for everything."""

_AGE: Final = 300.0
"""Seconds after which a session makes room for a new one: a server's name may lead elsewhere by then."""


class Connections:
    """As many connections as there are writers, made when first needed: nobody ever waits for one."""

    def __init__(
        self, settings: PostgresSettings, *, size: int, age: float = _AGE, application: str = OPERATOR
    ) -> None:
        """Reads certificates, which blocks. Raises: StartRefused if DSN or a file is not what it should be."""
        self._settings = settings
        self._door = door_of(settings, application=application)
        self._begin = beginning(settings)
        self._age = age
        self._not_before = 0.0
        """When a server was last found to be the wrong one: sessions that are older lead there too."""
        self._named = True
        self.size = size
        self.in_use = 0
        self._pool = asyncpg.create_pool(
            connect=self._open,
            connection_class=Session,
            min_size=0,  # with more, the pool would reconnect on its own, and log tracebacks when it can't
            max_size=size,
            reset=_leave_as_it_is,
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
            connection = await self._acquire()
        self.in_use += 1
        transaction = Transaction(connection, limit=self._settings.command_timeout)
        try:
            await transaction.execute(self._begin)
            yield transaction
        finally:
            try:
                await end(connection, transaction)
            finally:
                self.in_use -= 1
                self._learn(transaction)
                await self._pool.release(connection, timeout=_CLOSING)

    @property
    def pooled(self) -> bool:
        """Whether a pooler was found between."""
        return not self._named

    async def _open(self, *_: Any, **__: Any) -> Session:
        session = await open_session(self._door, named=self._named)
        self._named = self._named and not session.facts.pooled
        return session

    async def _acquire(self) -> Any:
        while True:
            connection: Any = await self._pool.acquire()
            if connection.may_be_used(since=max(self._not_before, asyncio.get_running_loop().time() - self._age)):
                return connection
            connection.terminate()
            await self._pool.release(connection)

    def _learn(self, transaction: Transaction) -> None:
        if transaction.elsewhere:
            self._not_before = asyncio.get_running_loop().time()
        if transaction.pooled:
            self._named = False


@asynccontextmanager
async def reading(settings: PostgresSettings) -> AsyncIterator[Session]:
    """A connection of its own, in a transaction that reads one moment's tables.

    Raises: what the driver raises.
    """
    door = await asyncio.to_thread(door_of, settings)
    async with asyncio.timeout(settings.connect_timeout):
        session = await open_session(door)
    try:
        async with asyncio.timeout(settings.command_timeout):
            await session.execute(beginning_to_read(settings))
        yield session
    finally:
        session.terminate()


async def _leave_as_it_is(_: object) -> None:
    """No reset between transactions: they leave nothing behind, and a round trip per batch costs more than nothing."""
