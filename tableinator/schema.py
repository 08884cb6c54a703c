"""Make the tables at start if we may, or say what must be done.

Several replicas start at once: one at a time makes what is missing, under an advisory lock; the others find it made.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import asyncpg
import structlog

from common.errors import StartRefused
from tableinator import ledger
from tableinator.connections import Connections
from tableinator.tables import (
    GRANTS,
    PRIVILEGES,
    FoundColumn,
    FoundTable,
    creation,
    differences,
    encoding_problem,
    how_to_create,
)
from tableinator.transaction import Transaction

log = structlog.get_logger()

_LOCK: Final = int.from_bytes(b"spindle")
"""The advisory lock's key: one for the database, since making tables takes milliseconds."""

_TABLES: Final = """
SELECT name, relkind IN ('r', 'p') AS ordinary, row_security_active(pg_class.oid) AS secured,
    relkind = 'p' AND current_setting('server_version_num')::int < 180000 AS untold,
    ARRAY(
        SELECT part.oid::regclass::text FROM pg_class AS part WHERE part.relpersistence <> 'p' AND (
            part.oid = pg_class.oid OR part.oid IN (SELECT relid FROM pg_partition_tree(pg_class.oid))
        )
    ) AS fleeting,
    EXISTS (SELECT FROM pg_rewrite WHERE ev_class = pg_class.oid) AS ruled,
    ARRAY(SELECT p FROM unnest($2::text[]) AS p WHERE has_table_privilege(pg_class.oid, p)) AS privileges,
    EXISTS (
        SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
        WHERE indrelid = pg_class.oid AND attname = 'data_id' AND indnkeyatts = 1
        AND indisunique AND indimmediate AND indisvalid AND indpred IS NULL
    ) AS unique_id
FROM unnest($1::text[]) AS name JOIN pg_class ON pg_class.oid = to_regclass(name)
"""

_COLUMNS: Final = """
SELECT name, attname, format_type(atttypid, atttypmod) AS type, attnotnull AS required,
    atthasdef OR attidentity <> '' AS filled
FROM unnest($1::text[]) AS name JOIN pg_attribute ON attrelid = to_regclass(name)
WHERE attnum > 0 AND NOT attisdropped ORDER BY name, attnum
"""

# Asked of the settings, not tried: a failed attempt would end the transaction and stand in the server's log.
LZ4: Final = "SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)"
"""Has a row if the server can compress by lz4."""


async def prepare_tables(connections: Connections, kinds: Sequence[str]) -> None:
    """See to it that every kind has a table that can be written to.

    Raises: StartRefused with what differs, or with the statement to run; what the driver raises.
    """
    async with connections.transaction() as transaction:
        if problem := encoding_problem(await encoding_of(transaction)):
            raise StartRefused(f"PostgreSQL's database can't be used as it is: {problem}.")
        found = await _usable(transaction, kinds)
        lacking = await missing_of_ledger(transaction)
    missing = [kind for kind in kinds if kind not in found]
    if missing or lacking:
        await _create(connections, missing)
        async with connections.transaction() as transaction:
            await _usable(transaction, kinds)


async def encoding_of(transaction: Transaction) -> str:
    """The database's encoding, as PostgreSQL names it."""
    [row] = await transaction.fetch("SELECT current_setting('server_encoding') AS encoding")
    return str(row["encoding"])


async def find_tables(transaction: Transaction, kinds: Sequence[str]) -> dict[str, FoundTable]:
    """Describe the tables that exist, wherever the user's search_path finds them."""
    # The tables first: each statement sees what is committed by then, and a table that another replica is just making
    # must not be found without its columns.
    tables = await transaction.fetch(_TABLES, list(kinds), list(PRIVILEGES))
    columns: dict[str, dict[str, FoundColumn]] = {}
    for row in await transaction.fetch(_COLUMNS, list(kinds)):
        found = FoundColumn(row["type"], row["required"], row["filled"])
        columns.setdefault(row["name"], {})[row["attname"]] = found
    return {
        row["name"]: FoundTable(
            row["ordinary"],
            row["unique_id"],
            frozenset(row["privileges"]),
            columns.get(row["name"], {}),
            is_untold=row["untold"],
            fleeting=tuple(row["fleeting"]),
            is_secured=row["secured"],
            is_ruled=row["ruled"],
        )
        for row in tables
    }


async def _usable(transaction: Transaction, kinds: Sequence[str]) -> dict[str, FoundTable]:
    """Find the tables that exist.

    Raises: StartRefused if one of them, or of the ledger's, can't be used.
    """
    found = await find_tables(transaction, kinds)
    if problems := [*problems_of(found), *await ledger_problems(transaction)]:
        raise StartRefused("PostgreSQL's tables can't be used as they are: " + "; ".join(problems) + ".")
    return found


def problems_of(found: Mapping[str, FoundTable]) -> list[str]:
    """What makes the kinds' tables unusable."""
    return [f"{kind}: {problem}" for kind, table in found.items() for problem in differences(kind, table)]


async def missing_of_ledger(transaction: Transaction) -> list[str]:
    """Name what the ledger lacks: all of it in a database that an older version has made."""
    names = [*ledger.TABLES, *ledger.VIEWS]
    return [row["name"] for row in await transaction.fetch(ledger.MISSING, names, ledger.FUNCTION)]


async def ledger_problems(transaction: Transaction) -> list[str]:
    """What keeps this user from writing the ledger, or the ledger from keeping it, with the statement that fixes it."""
    found = await find_tables(transaction, list(ledger.PRIVILEGES))
    problems = [f"the ledger: {table}: {each}" for table in found for each in ledger.differences(table, found[table])]
    needed = [(table, privilege) for table, all_ in ledger.PRIVILEGES.items() for privilege in all_]
    lacking = await transaction.fetch(ledger.LACKING, *map(list, zip(*needed, strict=True)))
    if not lacking:
        return problems
    grants = ledger.lacking_sentence((row["name"], row["privilege"]) for row in lacking)
    return [
        *problems,
        f"the ledger: this user lacks privileges; {grants}, as its owner; {GRANTS} has what each login needs",
    ]


async def make_in_ledger(transaction: Transaction, names: Collection[str]) -> None:
    """Make these tables, views or functions, beside the ledger's others wherever those are.

    Raises: what the driver raises.
    """
    [[path]] = await transaction.fetch("SELECT current_setting('search_path')")
    if home := await _home(transaction):
        await transaction.fetch(ledger.LOOK_IN, home)
    for name, statement in ledger.CREATIONS.items():
        if name in names:
            await transaction.execute(statement)
    await transaction.fetch("SELECT set_config('search_path', $1, true)", path)


async def _home(transaction: Transaction) -> str:
    """The schema that the ledger is in; empty if there is none of it."""
    return "".join([row["home"] for row in await transaction.fetch(ledger.HOME, list(ledger.TABLES))])


async def _create(connections: Connections, kinds: Sequence[str]) -> None:
    """Make what is missing, in one transaction: a table without its ledger is never seen.

    Raises: StartRefused. What only an operator reads of the ledger stays away if this user may not make it.
    """
    async with connections.transaction() as transaction:
        lz4 = bool(await transaction.fetch(LZ4))
        statements = [creation(kind, lz4=lz4) for kind in kinds]
        await transaction.fetch("SELECT pg_advisory_xact_lock($1)", _LOCK)
        lacking = await missing_of_ledger(transaction)  # now that nobody else is making it
        try:
            for statement in statements:
                await transaction.execute(statement)
        except asyncpg.InsufficientPrivilegeError as error:
            raise _refused("Tables are", error, how_to_create(statements)) from error
        if lacking:
            home = await _home(transaction)
            what_to_do = (
                f"as one who may, run {ledger.MADE_BY}, or start tableinator once with a login that may create: "
                f"the ledger{f' in schema {home}' if home else ''} lacks {', '.join(lacking)}."
            )
            try:
                await make_in_ledger(transaction, lacking)
            except asyncpg.InsufficientPrivilegeError as error:
                if kinds or set(lacking) & set(ledger.PRIVILEGES):
                    raise _refused("Parts of the ledger are", error, what_to_do) from error
                log.warning("The ledger lacks what operators read", missing=",".join(lacking), action=what_to_do)
                return
        await transaction.commit()
    if kinds:
        log.info("Tables created", tables=",".join(kinds), compression="lz4" if lz4 else "none")
    if lacking:
        log.info("Ledger created", tables=",".join(lacking))


def _refused(what: str, error: asyncpg.PostgresError, what_to_do: str) -> StartRefused:
    return StartRefused(
        f"{what} missing in PostgreSQL, and this user may not create them ({error.args[0]}): {what_to_do}"
    )
