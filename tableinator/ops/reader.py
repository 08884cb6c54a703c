"""Read the tables, to verify and to count them. Bounded memory, however much they hold."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg

from tableinator.classification import ERRORS, classify
from tableinator.connections import reading
from tableinator.sessions import Session
from tableinator.settings import PostgresSettings
from tableinator.statements import IS_PARTITIONED, Statements

_AT_A_TIME: Final = 500
"""Rows that one step brings into memory."""

_COUNTED_AT_A_TIME: Final = 10_000

Place = tuple[int, int] | str
"""Where a row lies: page and line; in a partitioned table its id."""

_IN_ORDER: Final = (
    "SET LOCAL synchronize_seqscans = off; SET LOCAL max_parallel_workers_per_gather = 0; SAVEPOINT reading"
)
"""The order of the places, and a point to which an error goes back: the moment that is read stays the same."""

_OF_A_ROW: Final = frozenset({"53200", "54000", "XX000", "XX001"})
"""What a row's own content may raise when it is read: more than fits, or damaged."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One record as it is stored. `data` is JSON as PostgreSQL writes it: keys in its order, blanks between."""

    id: str
    hash: str
    version: str | None
    data: bytes | None
    """None if the server can't give it: numbers, say, that are stored short and written in more than a gigabyte."""


async def read_rows(settings: PostgresSettings, kind: str) -> AsyncIterator[StoredRow]:
    """Give every stored row of a kind, as of one moment, in no order.

    Raises: StoreUnavailable.
    """
    try:
        async with reading(settings) as session:
            await session.execute(_IN_ORDER, timeout=settings.command_timeout)
            partitioned = await is_partitioned(session, kind, settings.command_timeout)
            statements, beginning = Statements.of(kind, partitioned=partitioned), "" if partitioned else (0, 0)
            async for row in _rows(session, statements, beginning, settings.command_timeout):
                yield row
    except ERRORS as error:
        raise classify(error, alone=True) from error


class Table:
    """One kind's table as of one moment."""

    def __init__(self, session: Session, statements: Statements, limit: float) -> None:
        self._session, self._statements, self._limit = session, statements, limit

    async def rows(self, ids: Sequence[str]) -> dict[str, StoredRow]:
        """The rows of these ids that are stored, by id.

        Raises: what the driver raises.
        """
        found = await self.read(self._statements.read_ids, self._statements.places_of_ids, ids)
        return {row.id: row for row in found}

    async def read(self, statement: str, places: str, *arguments: object) -> list[StoredRow]:
        """The rows that a statement finds. `places`: the same one, giving their places, and no data: then they are
        read one by one if one of them can't be.

        Raises: what the driver raises.
        """
        try:
            rows = await self._session.fetch(statement, *arguments, timeout=self._limit)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _OF_A_ROW:
                raise
        else:
            return [StoredRow(*row) for row in rows]
        await self._session.execute("ROLLBACK TO SAVEPOINT reading", timeout=self._limit)
        return [
            StoredRow(id_, hash_, version, await _content(self._session, self._statements, place, self._limit))
            for place, id_, hash_, version in await self._session.fetch(places, *arguments, timeout=self._limit)
        ]

    async def count(self) -> int:
        """How many rows there are; a few at a time, because counting a large table takes longer than a statement may.

        Raises: what the driver raises.
        """
        cursor, count = await self._session.cursor(self._statements.read_nothing, timeout=self._limit), 0
        while rows := await cursor.fetch(_COUNTED_AT_A_TIME, timeout=self._limit):
            count += len(rows)
        return count


@asynccontextmanager
async def open_table(settings: PostgresSettings, kind: str) -> AsyncIterator[Table]:
    """Connect for reading a kind.

    Raises: StoreUnavailable, from what is done with it too.
    """
    try:
        async with reading(settings) as session:
            await session.execute(f"SET LOCAL enable_seqscan = off; {_IN_ORDER}", timeout=settings.command_timeout)
            partitioned = await is_partitioned(session, kind, settings.command_timeout)
            yield Table(session, Statements.of(kind, partitioned=partitioned), settings.command_timeout)
    except ERRORS as error:
        raise classify(error, alone=True) from error


async def is_partitioned(session: Session, kind: str, limit: float) -> bool:
    """Whether a kind's table has parts. Raises: what the driver raises."""
    return bool(await session.fetchval(IS_PARTITIONED, kind, timeout=limit))


async def _rows(session: Session, statements: Statements, behind: Place, limit: float) -> AsyncIterator[StoredRow]:
    """Read on as long as it goes well; if it does not, read a few rows one by one, and go on behind them."""
    while True:
        try:
            cursor = await session.cursor(statements.read, behind, timeout=limit)
            while rows := await cursor.fetch(_AT_A_TIME, timeout=limit):
                for row in rows:
                    yield StoredRow(*row[1:])
                behind = rows[-1]["place"]
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _OF_A_ROW:
                raise
        else:
            return
        await session.execute("ROLLBACK TO SAVEPOINT reading", timeout=limit)
        for place, id_, hash_, version in await session.fetch(statements.places, behind, _AT_A_TIME, timeout=limit):
            yield StoredRow(id_, hash_, version, await _content(session, statements, place, limit))
            behind = place


async def _content(session: Session, statements: Statements, place: Place, limit: float) -> bytes | None:
    try:
        content: bytes = await session.fetchval(statements.read_one, place, timeout=limit)
    except asyncpg.PostgresError as error:
        if error.sqlstate not in _OF_A_ROW:
            raise
        await session.execute("ROLLBACK TO SAVEPOINT reading", timeout=limit)
        return None
    return content


async def count_rows(settings: PostgresSettings, kinds: Sequence[str]) -> dict[str, int]:
    """Count the stored rows of each kind.

    Raises: StoreUnavailable.
    """
    try:
        async with reading(settings) as session, asyncio.timeout(settings.command_timeout):
            return {kind: await session.fetchval(Statements.of(kind).count) for kind in kinds}
    except ERRORS as error:
        raise classify(error, alone=True) from error
