"""Read the tables: for verification, and for whoever counts. Bounded memory, whatever the tables hold."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from tableinator.classification import ERRORS, classify
from tableinator.connections import reading
from tableinator.settings import PostgresSettings
from tableinator.statements import Statements

_AT_A_TIME: Final = 500
"""Rows that one step brings into memory."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One record as it is stored. `data` is JSON as PostgreSQL writes it: keys in its order, blanks between."""

    id: str
    hash: str
    version: str | None
    data: bytes


async def read_rows(settings: PostgresSettings, kind: str) -> AsyncIterator[StoredRow]:
    """Give every stored row of a kind, as of one moment, in no order.

    Raises: StoreUnavailable.
    """
    try:
        async with reading(settings) as session:
            cursor = await session.cursor(Statements.of(kind).read)
            while rows := await cursor.fetch(_AT_A_TIME, timeout=settings.command_timeout):
                for row in rows:
                    yield StoredRow(*row)
    except ERRORS as error:
        raise classify(error, alone=True) from error


async def count_rows(settings: PostgresSettings, kinds: Sequence[str]) -> dict[str, int]:
    """Count the stored rows of each kind.

    Raises: StoreUnavailable.
    """
    try:
        async with reading(settings) as session, asyncio.timeout(settings.command_timeout):
            return {kind: await session.fetchval(Statements.of(kind).count) for kind in kinds}
    except ERRORS as error:
        raise classify(error, alone=True) from error
