"""Make indexes while everybody goes on reading and writing: one at a time, and the server says how far each is."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import asyncpg

from tableinator.classification import ERRORS, classify
from tableinator.connections import reading
from tableinator.ops.refinement.definitions import Index, indexes, tables_of
from tableinator.sessions import Session, door_of, open_session
from tableinator.settings import PostgresSettings

_FOUND: Final = """
SELECT index.relname AS name, indisvalid AS valid, pg_relation_size(index.oid) AS bytes
FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid JOIN pg_namespace AS place ON place.oid = relnamespace
WHERE nspname = $1
"""

_ROWS: Final = """
SELECT relname AS name, greatest(reltuples, 0)::bigint AS rows, pg_relation_size(pg_class.oid) AS bytes
FROM pg_class JOIN pg_namespace AS place ON place.oid = relnamespace WHERE nspname = $1 AND relkind = 'r'
"""

_TRIGRAMS: Final = """
SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'pg_trgm'
"""

_AVAILABLE: Final = "SELECT FROM pg_available_extensions WHERE name = 'pg_trgm'"

_PROGRESS: Final = """
SELECT phase, greatest(blocks_done, tuples_done) AS done, greatest(blocks_total, tuples_total) AS total
FROM pg_stat_progress_create_index WHERE pid = $1
"""

_ASKED: Final = 0.5
"""Seconds between two questions how far it is."""

OnDone = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Planned:
    """An index that is not there yet. `bytes`: what it will take, about."""

    index: Index
    bytes: int
    spoiled: bool
    """Whether an interrupted run has left it, unusable."""


async def plan_indexes(settings: PostgresSettings, schema: str, wanted: Sequence[Index]) -> list[Planned]:
    """Those that are not there, with the disk that each will need.

    Raises: StoreUnavailable.
    """
    try:
        async with reading(settings) as session:
            found = {row["name"]: row["valid"] for row in await session.fetch(_FOUND, schema)}
            rows = {row["name"]: row["rows"] for row in await session.fetch(_ROWS, schema)}
    except ERRORS as error:
        raise classify(error, alone=True) from error
    return [
        Planned(index, rows.get(index.table, 0) * index.bytes_per_row, index.name in found)
        for index in wanted
        if not found.get(index.name) and index.table in rows
    ]


async def make_indexes(settings: PostgresSettings, schema: str, planned: Sequence[Planned], on_done: OnDone) -> bool:
    """Make them, one after the other. Returns: whether titles and names can be searched by trigrams.

    Raises: StoreUnavailable.
    """
    try:
        door = await asyncio.to_thread(door_of, settings)
        session = await open_session(door, named=False)
        try:
            trigrams = await _trigrams(session, settings.command_timeout)
            for each in planned:
                if each.spoiled:
                    await session.execute(
                        f"DROP INDEX CONCURRENTLY {schema}.{each.index.name}", timeout=settings.command_timeout
                    )
                await _make(settings, session, creation(schema, each.index, trigrams), each.index.name, on_done)
            for table in sorted({each.index.table for each in planned}):
                await session.execute(f"ANALYZE {schema}.{table}", timeout=settings.command_timeout)
        finally:
            session.terminate()
    except ERRORS as error:
        raise classify(error, alone=True) from error
    return trigrams is not None


async def make_needed(settings: PostgresSettings, schema: str, kind: str, on_done: OnDone) -> None:
    """Make the indexes without which a changed record's rows could only be found by reading whole tables.

    Raises: StoreUnavailable.
    """
    names = {table.name for table in tables_of(kind)} | ({"release"} if kind == "masters" else set())
    needed = [index for index in indexes() if index.needed and index.table in names]
    if planned := await plan_indexes(settings, schema, needed):
        await make_indexes(settings, schema, planned, on_done)


def creation(schema: str, index: Index, trigrams: str | None) -> str:
    """The statement; `trigrams`: the schema of the extension, None if there is none. Pure."""
    columns = index.columns
    if index.with_trigrams:
        columns = (
            f"({index.text_column} {trigrams}.gin_trgm_ops)"
            if trigrams
            else f"(to_tsvector('simple', {index.text_column}))"
        )
    return f"CREATE INDEX CONCURRENTLY {index.name} ON {schema}.{index.table} USING {index.method} {columns}"


async def _trigrams(session: Session, limit: float) -> str | None:
    """Where pg_trgm is; it is put into the database if the server has it and this login may."""
    if found := await session.fetchval(_TRIGRAMS, timeout=limit):
        return str(found)
    if not await session.fetch(_AVAILABLE, timeout=limit):
        return None
    with suppress(asyncpg.PostgresError):  # a login that may not; then by words
        await session.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public", timeout=limit)
    found = await session.fetchval(_TRIGRAMS, timeout=limit)
    return str(found) if found else None


async def _make(settings: PostgresSettings, session: Session, statement: str, name: str, on_done: OnDone) -> None:
    """Run it, and ask meanwhile how far it is."""
    backend = session.get_server_pid()
    async with asyncio.TaskGroup() as group:
        making = group.create_task(session.execute(statement, timeout=settings.command_timeout))
        watching = group.create_task(_watch(settings, backend, name, on_done))
        making.add_done_callback(lambda _: watching.cancel())


async def _watch(settings: PostgresSettings, backend: int, name: str, on_done: OnDone) -> None:
    door = await asyncio.to_thread(door_of, settings)
    session = await open_session(door, named=False)
    try:
        while True:
            for row in await session.fetch(_PROGRESS, backend, timeout=settings.command_timeout):
                on_done(f"{name}: {row['phase']}", row["done"], row["total"])
            await asyncio.sleep(_ASKED)
    finally:
        session.terminate()
