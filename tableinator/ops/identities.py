"""Who is stored in a table: ids with their hashes and versions, looked up or scanned; never content.

Each question is a transaction of its own, so that a check of hours holds back no vacuum.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from tableinator.classification import ERRORS, classify
from tableinator.connections import reading
from tableinator.sessions import Session, beginning_to_read
from tableinator.settings import PostgresSettings
from tableinator.statements import IS_PARTITIONED, Statements

_LOOK_UP: Final = "SELECT data_id, hash, version FROM {table} WHERE data_id = ANY($1::text[])"

_PAGE: Final = "SELECT ctid, data_id, version FROM {table} WHERE ctid > $1 LIMIT $2"
"""In the order of the places where rows lie: a scan that reads each page of the table once, and can be gone on with."""

_FAST: Final = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
_IN_ORDER: Final = "SET LOCAL synchronize_seqscans = off; SET LOCAL max_parallel_workers_per_gather = 0"

# The system's identifier tells clusters apart, and the time line a restored one from what it was restored from.
_WHO: Final = """
SELECT concat_ws(' ', (SELECT system_identifier FROM pg_control_system()),
    (SELECT timeline_id FROM pg_control_checkpoint()), current_database(),
    coalesce(to_regclass($1)::oid::text, 'none')) AS who,
    clock_timestamp() AS now
"""

_PAGE_BY_ID: Final = "SELECT data_id, version FROM {table} WHERE data_id > $1 ORDER BY data_id LIMIT $2"
"""Of a partitioned table, whose parts have places of their own."""

_ESTIMATE: Final = """
SELECT greatest(0, CASE relkind
    WHEN 'p' THEN (
        SELECT sum(greatest(0, part.reltuples)) FROM pg_partition_tree(pg_class.oid)
        JOIN pg_class AS part ON part.oid = relid WHERE isleaf
    ) ELSE reltuples
END)::bigint FROM pg_class WHERE oid = to_regclass($1)
"""

BEGINNING: Final = "0,0"
"""The place before the first row."""

_ID: Final = "id "
"""How the place of a row of a partitioned table begins."""


class TableIdentities:
    """One connection that reads."""

    store: Final = "postgresql"

    def __init__(self, session: Session, settings: PostgresSettings) -> None:
        self._session, self._limit = session, settings.command_timeout
        self._begin = beginning_to_read(settings)
        self._partitioned: dict[str, bool] = {}

    async def look_up(self, kind: str, ids: Sequence[str]) -> dict[str, tuple[str, str | None, bool]]:
        """What is stored under these ids: hash, version, and that it is by the current model: tables have no other.

        Raises: StoreUnavailable.
        """
        statement = _LOOK_UP.replace("{table}", Statements.of(kind).table)
        rows = await self._ask(_FAST, statement, list(ids))
        return {data_id: (hash_, version, True) for data_id, hash_, version in rows}

    async def page(self, kind: str, behind: str, size: int) -> tuple[list[tuple[str, str | None]], str]:
        """The next ids with their versions, as they lie in the table, and the place of the last of them.

        Raises: StoreUnavailable.
        """
        if kind not in self._partitioned:
            rows = await self._ask(_FAST, IS_PARTITIONED, Statements.of(kind).table)
            self._partitioned[kind] = bool(rows and rows[0][0])
        if self._partitioned[kind]:
            return await self._page_by_id(kind, behind, size)
        statement = _PAGE.replace("{table}", Statements.of(kind).table)
        block, line = behind.split(",")
        rows = await self._ask(_IN_ORDER, statement, (int(block), int(line)), size)
        place = ",".join(map(str, rows[-1][0])) if rows else behind
        return [(row[1], row[2]) for row in rows], place

    async def _page_by_id(self, kind: str, behind: str, size: int) -> tuple[list[tuple[str, str | None]], str]:
        statement = _PAGE_BY_ID.replace("{table}", Statements.of(kind).table)
        last = behind.removeprefix(_ID) if behind.startswith(_ID) else ""
        rows = await self._ask(_FAST, statement, last, size)
        return [(row[0], row[1]) for row in rows], f"{_ID}{rows[-1][0]}" if rows else behind

    async def who(self, kind: str) -> tuple[str, datetime]:
        """What tells this kind's table from every other one, and what time it is there.

        Raises: StoreUnavailable.
        """
        [row] = await self._ask(_FAST, _WHO, Statements.of(kind).table)
        return str(row["who"]), row["now"]

    async def estimate(self, kind: str) -> int:
        """About how many rows there are, for a progress bar.

        Raises: StoreUnavailable.
        """
        rows = await self._ask(_FAST, _ESTIMATE, Statements.of(kind).table)
        return int(rows[0][0]) if rows else 0

    async def _ask(self, setting: str, statement: str, *arguments: object) -> list[Any]:
        try:
            async with asyncio.timeout(self._limit):
                await self._session.execute(f"ROLLBACK; {self._begin}; {setting}")
                rows: list[Any] = await self._session.fetch(statement, *arguments)
                await self._session.execute("ROLLBACK")
                return rows
        except ERRORS as error:
            raise classify(error, alone=True) from error


@asynccontextmanager
async def open_identities(settings: PostgresSettings) -> AsyncIterator[TableIdentities]:
    """Connect for reading.

    Raises: StoreUnavailable, StartRefused.
    """
    try:
        async with reading(settings) as session:
            yield TableIdentities(session, settings)
    except ERRORS as error:
        raise classify(error, alone=True) from error
