"""Connections to PostgreSQL: a pool of one for every writer, and how each session is set up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import asyncpg

from common.settings.certificates import settings_context
from tableinator.classification import PEER
from tableinator.settings import PostgresSettings
from tableinator.transaction import Transaction, end

_SERVERS_SHARE: Final = 0.8
"""The server's limit for a statement, as a share of ours: the server speaks first, unless it is gone."""

_CLOSING: Final = 2.0
"""Seconds for saying goodbye: a drain has 8 for everything."""


class Connections:
    """As many connections as there are writers, made when first needed: nobody ever waits for one."""

    def __init__(self, settings: PostgresSettings, *, size: int) -> None:
        """Reads certificates, which blocks. Raises: StartRefused where a file is not what it should be."""
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
            **_encryption(settings),
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
                await end(connection, transaction)
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
            **await asyncio.to_thread(_encryption, settings),
        )
        try:
            await _prepare(connection)
        except BaseException:
            connection.terminate()
            raise
    return connection


_READING: Final = {"enable_seqscan": "on", "idle_in_transaction_session_timeout": "0"}


def _encryption(settings: PostgresSettings) -> dict[str, Any]:
    """Nothing where the settings ask for no TLS: then the DSN may."""
    context = settings_context(settings, PEER)
    return {"ssl": context} if context else {}


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
