"""Look, before a load, whether PostgreSQL will take it: what a write needs is tried for real, and rolled back."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

import asyncpg

from common.errors import SinkError, StartRefused
from common.ops.checks import Check, Findings, State, sentence_of
from common.progress import process_name
from tableinator import ledger
from tableinator.classification import ERRORS, classify
from tableinator.connections import Connections
from tableinator.model import Row
from tableinator.notes import TableLedger
from tableinator.schema import LZ4, find_tables, ledger_problems, make_in_ledger, missing_of_ledger, problems_of
from tableinator.sessions import Session, door_of, open_session
from tableinator.settings import PostgresSettings
from tableinator.statements import Statements
from tableinator.tables import creation, encoding_problem, how_to_create
from tableinator.transaction import Transaction
from tableinator.writing import store

LEAST_VERSION: Final = 11
"""The first whose catalogue tells what we ask of it."""

TRIED_VERSION: Final = 15
"""The oldest that is tried with every change of ours."""

_SERVER: Final = """
SELECT current_setting('server_version_num')::int / 10000 AS version,
    pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS read_only,
    extract(epoch FROM clock_timestamp())::float8 AS time,
    pg_size_pretty(pg_database_size(current_database())) AS size,
    current_setting('server_encoding') AS encoding,
    current_setting('fsync')::bool AND current_setting('full_page_writes')::bool AS safe,
    (SELECT setting FROM pg_settings WHERE name = 'synchronous_commit') AS commit,
    (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS usual_commit
"""

# Those that are kept for others: superusers have none kept from them, nor a limit of role or database.
_LIMITS: Final = """
SELECT current_setting('max_connections')::int
    - CASE WHEN rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int
        + CASE WHEN pg_has_role(current_user, oid, 'MEMBER') AND EXISTS (
            SELECT FROM pg_roles AS reserve WHERE reserve.rolname = 'pg_use_reserved_connections'
            AND pg_has_role(current_user, reserve.oid, 'USAGE')
        ) THEN 0 ELSE coalesce(current_setting('reserved_connections', true)::int, 0) END
    END AS server,
    CASE WHEN rolsuper OR rolconnlimit < 0 THEN NULL ELSE rolconnlimit END AS role,
    (SELECT CASE WHEN rolsuper OR datconnlimit < 0 THEN NULL ELSE datconnlimit END
        FROM pg_database WHERE datname = current_database()) AS database,
    (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL AND pid <> pg_backend_pid())::int AS of_server,
    (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid())::int AS of_role,
    (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid())::int AS of_database
FROM pg_roles WHERE rolname = current_user
"""

_ROWS: Final = tuple(
    Row("spindle doctor", sha256(body).hexdigest(), "20000101", body)
    for body in (b'{"id": "spindle doctor", "name": "first"}', b'{"id": "spindle doctor", "name": "second"}')
)
"""A row, and what it is changed to."""

_AS_A_COMMIT: Final = "SET CONSTRAINTS ALL IMMEDIATE"
"""Has everything speak that would wait for the commit, which does not come."""

_ASKS: Final = 5
"""Transactions of one session, in which a pooler's sessions come round."""

_found: Final = Findings("PostgreSQL")

_RAISED: Final = {
    "server": "raise max_connections",
    "role": "ALTER ROLE … CONNECTION LIMIT -1",
    "database": "ALTER DATABASE … CONNECTION LIMIT -1",
}
"""What limits the number of connections, and how that is raised."""


async def check_tables(settings: PostgresSettings, kinds: Sequence[str], *, connections: int) -> list[Check]:
    """Look at everything that tableinator needs for these kinds; `connections`: how many it will open."""
    try:
        async with Connections(settings, size=2) as pool:
            async with pool.transaction() as transaction:
                checks = await _server(transaction, settings.address, connections)
            if pool.pooled:  # else there may be no second session: a role may be limited to one
                checks += await _pooler(settings)
            async with pool.transaction() as transaction:
                return [*checks, *await _tables(transaction, kinds, pool)]
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


def limit_check(limits: Mapping[str, int | None], needed: int) -> Check | None:
    """Whether there can ever be as many as one replica takes; `limits`: of the server, the role and the database. Pure.

    Returns: what fails, None if nothing does.
    """
    for name, fix in _RAISED.items():
        limit = limits[name]
        if limit is not None and limit < needed:
            return _found.failed(
                "connections",
                f"The {name} allows {limit}, and a replica takes {needed}: {fix}, or lower POSTGRES_WRITERS.",
            )
    return None


def durability_checks(*, safe: bool, usual_commit: str, commit: str) -> list[Check]:
    """Whether what is acknowledged outlives a crash of the server. Pure."""
    checks = []
    if not safe:
        checks.append(
            _found.warning(
                "durability",
                "fsync or full_page_writes is off: a power cut may cost all of the database; "
                "set both on in postgresql.conf.",
            )
        )
    if usual_commit == "off":
        checks.append(
            _found.ok(
                "commit", f"synchronous_commit is off here; tableinator sets it to {commit} for its transactions."
            )
        )
    return checks or [_found.ok("durability", f"What is committed is on disk (synchronous_commit is {commit}).")]


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
        await _connections(transaction, connections),
        _found.clock(row["time"], asked=asked, answered=answered),
        _found.ok("size", f"The database holds {row['size']}."),
        await _compression(transaction),
        _encoding(row["encoding"]),
        *durability_checks(safe=row["safe"], usual_commit=row["usual_commit"], commit=row["commit"]),
    ]


async def _connections(transaction: Transaction, needed: int) -> Check:
    [row] = await transaction.fetch(_LIMITS)
    limits = {name: row[name] for name in _RAISED}
    free = min(limit - row[f"of_{name}"] for name, limit in limits.items() if limit is not None)
    return limit_check(limits, needed) or connections_check(free, needed)


def _encoding(encoding: str) -> Check:
    if problem := encoding_problem(encoding):
        return _found.failed("encoding", f"The database can't be used: {problem}.")
    return _found.ok("encoding", f"It is {encoding}.")


async def _pooler(settings: PostgresSettings) -> list[Check]:
    """Whether a pooler stands between, and how it pools: one session's transactions, while another has one open."""
    door = await asyncio.to_thread(door_of, settings)
    asking = await open_session(door)
    try:
        if not asking.facts.pooled:
            return []
        async with asyncio.timeout(settings.connect_timeout):
            servers = {await _server_of(asking)}
            holding = await open_session(door)
            try:
                await holding.execute("BEGIN")
                await holding.fetch("SELECT 1")
                servers |= {await _server_of(asking) for _ in range(_ASKS)}
            finally:
                holding.terminate()
    finally:
        asking.terminate()
    if len(servers) > 1:
        return [
            _found.ok(
                "pooler",
                "A connection pooler stands between, and gives each transaction any of its sessions (transaction "
                "pooling): statements are parsed again for every batch.",
            )
        ]
    return [_found.ok("pooler", "A connection pooler stands between, and each of our sessions has one of its own.")]


async def _server_of(session: Session) -> int:
    await session.execute("BEGIN")
    [row] = await session.fetch("SELECT pg_backend_pid() AS pid")
    await session.execute("ROLLBACK")
    return int(row["pid"])


async def _compression(transaction: Transaction) -> Check:
    if await transaction.fetch(LZ4):
        return _found.ok("compression", "lz4 is there.")
    return _found.warning(
        "compression",
        "It was built without lz4: rows that fit a page are stored uncompressed, which takes more disk; "
        "PostgreSQL's own packages have lz4.",
    )


async def _tables(transaction: Transaction, kinds: Sequence[str], pool: Connections) -> list[Check]:
    """Make the tables that are missing, write a row into each, and leave all of it to the rollback."""
    found = await find_tables(transaction, kinds)
    if problems := [*problems_of(found), *await ledger_problems(transaction)]:
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
    return [
        *_tables_found(missing),
        await _ledger(transaction, [TableLedger(pool, kind, process_name()) for kind in kinds]),
        await _writing(transaction, kinds),
    ]


async def _ledger(transaction: Transaction, books: Sequence[TableLedger]) -> Check:
    """Make what is missing of the ledger, and use all of it: no batch is stored without its numbers, and what can't be
    written beside them waits for good.
    """
    made = await _made(transaction)
    if made.state is State.FAILED:
        return made
    await transaction.execute("SAVEPOINT writing")
    try:
        for book in books:
            await book.try_everything(transaction)
        await transaction.execute(_AS_A_COMMIT)
    except (*ERRORS, SinkError) as error:
        # The service's words name no constraint, because a row of its own may tell of a record.
        reason = error.__cause__ if isinstance(error.__cause__, ERRORS) else error
        made = _found.failed("ledger", f"It can't be written: {_sentence(reason)}")
    if not transaction.broken:
        await transaction.execute("ROLLBACK TO SAVEPOINT writing")
    return made


async def _made(transaction: Transaction) -> Check:
    missing = await missing_of_ledger(transaction)
    if not missing:
        return _found.ok("ledger", "It exists, with the privileges that are needed, and was written for trial.")
    await transaction.execute("SAVEPOINT ledger")
    try:
        await make_in_ledger(transaction, missing)
    except asyncpg.PostgresError as error:
        await transaction.execute("ROLLBACK TO SAVEPOINT ledger")
        sentence = f"{', '.join(missing)} are missing and can't be created ({error.args[0]}): run {ledger.MADE_BY}."
        is_needed = bool(set(missing) & set(ledger.PRIVILEGES))
        return _found.failed("ledger", sentence) if is_needed else _found.warning("ledger", sentence)
    return _found.ok("ledger", f"{', '.join(missing)} don't exist yet: tableinator may create them.")


def _tables_found(missing: Sequence[str]) -> list[Check]:
    if missing:
        return [_found.ok("tables", f"{', '.join(missing)} don't exist yet: tableinator may create them.")]
    return [_found.ok("tables", "All exist, with the columns and the privileges that are needed.")]


async def _writing(transaction: Transaction, kinds: Sequence[str]) -> Check:
    """Store a row as the service does, by COPY, then changed; and read it back each time."""
    for kind in kinds:
        await transaction.execute("SAVEPOINT writing")
        try:
            problem = await _written(transaction, Statements.of(kind))
        except (*ERRORS, SinkError) as error:
            return _found.failed("rows", f"A row can't be written into {kind}: {_sentence(error)}")
        if problem:
            return _found.failed(
                "rows",
                f"A row that was written into {kind} is not there as it was written ({problem}): "
                "see its triggers and rules.",
            )
        # Another table's triggers then wait for the commit again.
        await transaction.execute("ROLLBACK TO SAVEPOINT writing")
    return _found.ok("rows", "One was copied into each table, changed and read back, and rolled back.")


async def _written(transaction: Transaction, statements: Statements) -> str:
    """Write, and read back. Returns: what is not as it was written."""
    for row in _ROWS:
        await store(transaction, statements, [row], copying=True)
        await transaction.execute(_AS_A_COMMIT)
        found = await transaction.fetch(statements.read_ids, [row.id])
        if not found:
            return "it is gone"
        [(_, hash_, version, data)] = found
        pairs = {"hash": (hash_, row.hash), "version": (version, row.version)}
        pairs["data"] = (json.loads(data), json.loads(row.body))
        if changed := [name for name, (theirs, ours) in pairs.items() if theirs != ours]:
            return f"{', '.join(changed)} changed"
    return ""


def _sentence(error: Exception) -> str:
    """What the driver's error means, for the operator; the only record in it is ours."""
    if not isinstance(error, (*ERRORS, SinkError)):
        return f"It can't be connected to with these settings ({error}): see POSTGRES_DSN and its parts."
    problem = error if isinstance(error, SinkError) else classify(error, alone=True)
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return sentence_of(problem, f"end a session, or raise the limit that is named: {', '.join(_RAISED.values())}")
    return sentence_of(problem, "see that it runs, and POSTGRES_HOST and POSTGRES_PORT")
