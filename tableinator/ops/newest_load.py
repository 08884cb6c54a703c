"""Which load the tables have seen last, as far as a sample of their pages tells."""

import asyncio
from collections.abc import Sequence
from typing import Final

from tableinator.classification import ERRORS, classify
from tableinator.connections import reading
from tableinator.sessions import Session
from tableinator.settings import PostgresSettings
from tableinator.statements import Statements

_PAGES: Final = 2000
"""16 MiB of a table. A later load changes or adds a few records in a hundred, so thousands of rows show it; a look at
every row of a full load would take minutes."""

_SHARE: Final = """
SELECT least(100, 100.0 * $2 / greatest(1, CASE relkind
    WHEN 'p' THEN (SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(oid)) ELSE pg_relation_size(oid)
END / 8192)) FROM pg_class WHERE oid = to_regclass($1)
"""
_NEWEST: Final = """
SELECT max(version COLLATE "C") FROM {table} TABLESAMPLE SYSTEM ($1)
WHERE version ~ '^20[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$'
"""


async def newest_load(settings: PostgresSettings, kinds: Sequence[str]) -> str | None:
    """The newest version among the sampled rows; None if there is none, or no table.

    Raises: StoreUnavailable.
    """
    try:
        async with reading(settings) as session, asyncio.timeout(settings.command_timeout):
            found = [await _newest(session, Statements.of(kind).table) for kind in kinds]
    except ERRORS as error:
        raise classify(error, alone=True) from error
    return max((load for load in found if load), default=None)


async def _newest(session: Session, table: str) -> str | None:
    share = await session.fetchval(_SHARE, table, _PAGES)
    if share is None:  # there is no such table yet
        return None
    newest: str | None = await session.fetchval(_NEWEST.replace("{table}", table), float(share))
    return newest
