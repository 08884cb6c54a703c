"""Make indexes while everybody goes on reading and writing: one at a time, and the server says how far each is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import asyncpg

from tableinator.classification import ERRORS, classify
from tableinator.connections import reading
from tableinator.ops.refinement.definitions import Index, indexes, tables_of
from tableinator.sessions import Door, Session, door_of, open_session
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

_ANSWERED: Final = 10.0
"""Seconds that an answer may take."""

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
        async with _session(door) as session, _session(door) as watching:
            trigrams = await _trigrams(session, settings.command_timeout)
            limit = settings.command_timeout
            for each in planned:
                name = each.index.name
                if each.spoiled:
                    await session.execute(f"DROP INDEX CONCURRENTLY {schema}.{name}", timeout=limit)
                watch = partial(_watch, watching, session.get_server_pid(), name, on_done)
                await _watched(session.execute(creation(schema, each.index, trigrams), timeout=limit), watch)
            for table in sorted({each.index.table for each in planned}):
                await session.execute(f"ANALYZE {schema}.{table}", timeout=limit)
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


async def _watched(
    making: Coroutine[Any, Any, Any], watching: Callable[[asyncio.Event], Coroutine[Any, Any, None]]
) -> None:
    """Do the one, and the other until that is over: broken off, a question would cost the session."""
    over = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(making).add_done_callback(lambda _: over.set())
            group.create_task(watching(over))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed


async def _watch(session: Session, backend: int, name: str, on_done: OnDone, over: asyncio.Event) -> None:
    while not over.is_set():
        try:
            rows = await session.fetch(_PROGRESS, backend, timeout=_ANSWERED)
        except ERRORS:
            return  # how far it is, is not worth an index that took hours
        for row in rows:
            on_done(f"{name}: {row['phase']}", row["done"], row["total"])
        with suppress(TimeoutError):
            async with asyncio.timeout(_ASKED):
                await over.wait()


@asynccontextmanager
async def _session(door: Door) -> AsyncIterator[Session]:
    """One outside of transactions, for what goes on beside others' work."""
    session = await open_session(door, named=False)
    try:
        yield session
    finally:
        session.terminate()
