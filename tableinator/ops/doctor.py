"""Look, before a load, whether PostgreSQL will take it: what a write needs is tried for real, and rolled back."""

import time
from collections.abc import Sequence
from typing import Final

import asyncpg

from common.errors import StartRefused
from common.ops.checks import Check, Findings, sentence_of
from tableinator.classification import ERRORS, classify
from tableinator.connections import Connections
from tableinator.model import Row
from tableinator.schema import LZ4, find_tables
from tableinator.settings import PostgresSettings
from tableinator.statements import Statements
from tableinator.tables import creation, differences, how_to_create
from tableinator.transaction import Transaction
from tableinator.writing import columns_of

LEAST_VERSION: Final = 11
"""The first whose catalogue tells what we ask of it."""

TRIED_VERSION: Final = 15
"""The oldest that is tried with every change of ours."""

_SERVER: Final = """
SELECT current_setting('server_version_num')::int / 10000 AS version,
    pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS read_only,
    extract(epoch FROM clock_timestamp())::float8 AS time,
    pg_size_pretty(pg_database_size(current_database())) AS size,
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL)::int AS free
"""

_ROW: Final = Row("spindle doctor", "", None, b"{}")

_found: Final = Findings("PostgreSQL")


async def check_tables(settings: PostgresSettings, kinds: Sequence[str], *, connections: int) -> list[Check]:
    """Look at everything that tableinator needs for these kinds; `connections`: how many it will open."""
    try:
        async with Connections(settings, size=1) as pool:
            async with pool.transaction() as transaction:
                checks = await _server(transaction, settings.address, connections)
            async with pool.transaction() as transaction:
                return [*checks, *await _tables(transaction, kinds)]
    except StartRefused as error:
        return [_found.failed("login", str(error))]
    except (*ERRORS, ValueError) as error:
        return [_found.failed("login", _sentence(error))]


def version_check(version: int) -> Check:
    """Whether this major version will do. Pure."""
    if version < LEAST_VERSION:
        return _found.failed("version", f"It is {version}; needed is {LEAST_VERSION} or newer: upgrade it.")
    if version < TRIED_VERSION:
        return _found.warning(
            "version", f"It is {version}; nothing older than {TRIED_VERSION} has been tried: upgrade it."
        )
    return _found.ok("version", f"It is {version}.")


def connections_check(free: int, needed: int) -> Check:
    """Whether one replica gets its connections; those of replicas that run are taken already. Pure."""
    if free >= needed:
        return _found.ok("connections", f"{free} are free; a replica takes {needed}.")
    return _found.warning(
        "connections",
        f"{free} are free, and a replica that starts now takes {needed}: raise max_connections, "
        "or lower POSTGRES_WRITERS.",
    )


async def _server(transaction: Transaction, address: str, connections: int) -> list[Check]:
    asked = time.time()
    [row] = await transaction.fetch(_SERVER)
    answered = time.time()
    return [
        _found.ok("login", f"{address} takes the login, and opens the database."),
        version_check(row["version"]),
        _found.failed("writing", "It is read-only: name the primary in POSTGRES_HOST, or end its read-only mode.")
        if row["read_only"]
        else _found.ok("writing", "It takes writes."),
        connections_check(row["free"], connections),
        _found.clock(row["time"], asked=asked, answered=answered),
        _found.ok("size", f"The database holds {row['size']}."),
        await _compression(transaction),
    ]


async def _compression(transaction: Transaction) -> Check:
    if await transaction.fetch(LZ4):
        return _found.ok("compression", "lz4 is there.")
    return _found.warning(
        "compression",
        "It was built without lz4: rows that fit a page are stored uncompressed, which takes more disk; "
        "PostgreSQL's own packages have lz4.",
    )


async def _tables(transaction: Transaction, kinds: Sequence[str]) -> list[Check]:
    """Make the tables that are missing, write a row into each, and leave all of it to the rollback."""
    found = await find_tables(transaction, kinds)
    problems = [f"{kind}: {problem}" for kind, table in found.items() for problem in differences(kind, table)]
    if problems:
        return [_found.failed("tables", f"{problem}.") for problem in problems]
    missing = [kind for kind in kinds if kind not in found]
    statements = [creation(kind, lz4=bool(await transaction.fetch(LZ4))) for kind in missing]
    try:
        for statement in statements:
            await transaction.execute(statement)
    except asyncpg.PostgresError as error:
        return [
            _found.failed(
                "tables",
                f"{', '.join(missing)} are missing and can't be created ({error.args[0]}): {how_to_create(statements)}",
            )
        ]
    return [*_tables_found(missing), *[await _writing(transaction, kinds)]]


def _tables_found(missing: Sequence[str]) -> list[Check]:
    if missing:
        return [_found.ok("tables", f"{', '.join(missing)} don't exist yet: tableinator may create them.")]
    return [_found.ok("tables", "All exist, with the columns and the privileges that are needed.")]


async def _writing(transaction: Transaction, kinds: Sequence[str]) -> Check:
    try:
        for kind in kinds:
            await transaction.execute(Statements.of(kind).overwrite, *columns_of([_ROW]))
    except ERRORS as error:
        return _found.failed("rows", f"A row can't be written into {kind}: {_sentence(error)}")
    return _found.ok("rows", "One was written into each table, and rolled back.")


def _sentence(error: Exception) -> str:
    """What the driver's error means, for the operator; the only record in it is ours."""
    if not isinstance(error, ERRORS):
        return f"It can't be connected to with these settings ({error}): see POSTGRES_DSN and its parts."
    return sentence_of(classify(error, alone=True), "see that it runs, and POSTGRES_HOST and POSTGRES_PORT")
