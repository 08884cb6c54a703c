"""The schema of the refined tables: make what is missing, and make again a table whose definition is another by now."""

# ruff: noqa: S608 (what is put in are names of closed sets, and a schema whose name is looked at)

from collections.abc import Sequence
from typing import Final

import asyncpg

from common.errors import StartRefused
from tableinator.ops.refinement.definitions import TABLES, Table
from tableinator.ops.refinement.statements import BOOK_NAMES, book_statements, creation, version_of
from tableinator.transaction import Transaction

LOCK: Final = int.from_bytes(b"refine")
"""The advisory lock's key: one makes schemas at a time."""

_FOUND: Final = """
SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = $1 AND relname = ANY($2::text[])
"""
_COLUMNS: Final = """
SELECT attname::text, format_type(atttypid, atttypmod), attnotnull
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = $1 AND relname = $2 AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_GRANTS: Final = """
SELECT format('GRANT %s ON %I.%I TO %s%s', privilege_type, nspname, relname,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS grant
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace, aclexplode(relacl)
WHERE nspname = $1 AND relname = $2 AND grantee <> relowner
"""
_SCHEMA: Final = "SELECT FROM pg_namespace WHERE nspname = $1"


async def prepare(transaction: Transaction, schema: str) -> None:
    """Make the schema, the books and every table that is not there; nobody else's table is touched.

    Raises: StartRefused if this login may not, or if tables of these names are somebody else's.
    """
    try:
        await transaction.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if not await transaction.fetch(_SCHEMA, schema):
            await transaction.execute(f"CREATE SCHEMA {schema}")
        names = [*BOOK_NAMES, *(table.name for table in TABLES)]
        found = {row["relname"] for row in await transaction.fetch(_FOUND, schema, names)}
        if not found >= set(BOOK_NAMES):
            for statement in book_statements(schema):
                await transaction.execute(statement)
        ours = await versions(transaction, schema)
        if strangers := sorted(found - set(BOOK_NAMES) - ours.keys()):
            raise StartRefused(
                f"The schema {schema} has tables that are somebody else's: {', '.join(strangers)}. Name another by "
                "--schema, or move them away."
            )
        for table in TABLES:
            if table.name not in ours:
                await make(transaction, schema, table)
                await _note_empty(transaction, schema, table)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StartRefused(
            f"PostgreSQL: this login may not make the refined tables ({error.args[0]}). As one who may: "
            f"CREATE SCHEMA {schema} AUTHORIZATION CURRENT_USER, with this login's name for CURRENT_USER."
        ) from error


async def _note_empty(transaction: Transaction, schema: str, table: Table) -> None:
    """Have a table filled that is there later than records: one that an upgrade has added, or that somebody dropped."""
    await transaction.execute(
        f"UPDATE {schema}.refine_table SET version = '' WHERE name = $1 "
        f"AND EXISTS (SELECT FROM {schema}.refine_record WHERE kind = $2)",
        table.name,
        table.kind,
    )


async def is_there(transaction: Transaction, schema: str) -> bool:
    """Whether anything was ever refined into this schema."""
    return bool(await transaction.fetch(_FOUND, schema, ["refine_table"]))


async def versions(transaction: Transaction, schema: str) -> dict[str, str]:
    """The refined tables that are there, and by which definition each was made."""
    rows = await transaction.fetch(
        f"SELECT name, version FROM {schema}.refine_table WHERE to_regclass('{schema}.' || name) IS NOT NULL"
    )
    return {row["name"]: row["version"] for row in rows}


def outdated(tables: Sequence[Table], found: dict[str, str]) -> list[Table]:
    """Those that another definition has made. Pure."""
    return [table for table in tables if found.get(table.name) != version_of(table.name)]


async def make(transaction: Transaction, schema: str, table: Table) -> None:
    """Make a table, empty, in place of the one that we have made before, if any; who may read it, still may.

    Raises: StartRefused if something that others have made depends on it.
    """
    known = await transaction.fetch(f"SELECT FROM {schema}.refine_table WHERE name = $1", table.name)
    try:
        await (_replace if known else _create)(transaction, schema, table)
    except (asyncpg.DependentObjectsStillExistError, asyncpg.FeatureNotSupportedError) as error:
        raise StartRefused(
            f"The table {schema}.{table.name} must be made again, and something depends on it: "
            f"{error.detail or error.args[0]} Drop that, run it again, and then make it anew."
        ) from error
    await transaction.execute(
        f"INSERT INTO {schema}.refine_table (name, kind, version) VALUES ($1, $2, $3) "
        "ON CONFLICT (name) DO UPDATE SET version = excluded.version, made_at = now()",
        table.name,
        table.kind,
        version_of(table.name),
    )


async def _create(transaction: Transaction, schema: str, table: Table) -> None:
    await transaction.execute(creation(schema, table))


async def _replace(transaction: Transaction, schema: str, table: Table) -> None:
    found = [tuple(row) for row in await transaction.fetch(_COLUMNS, schema, table.name)]
    needed = {table.parent, *table.key}
    if found == [(column.name, column.type, column.name in needed) for column in table.columns]:
        await transaction.execute(f"TRUNCATE {schema}.{table.name}")
        return
    grants = await transaction.fetch(_GRANTS, schema, table.name)
    await transaction.execute(f"DROP TABLE IF EXISTS {schema}.{table.name}")
    await _create(transaction, schema, table)
    for row in grants:
        await transaction.execute(row["grant"])
