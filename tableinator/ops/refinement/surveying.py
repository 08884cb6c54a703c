"""Look at what is refined and what would be: for a plan, and for whoever asks how good the data is."""

# ruff: noqa: S608 (what is put in are names of closed sets, and a schema whose name is looked at)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from common.errors import StartRefused
from tableinator.classification import ERRORS, classify
from tableinator.connections import Connections
from tableinator.ops.refinement import schema as schemas
from tableinator.ops.refinement.definitions import tables_of
from tableinator.ops.refinement.refining import PATIENCE, TUNED, OnDone
from tableinator.ops.refinement.statements import Statements, check_schema, dangling, version_of_kind
from tableinator.settings import PostgresSettings
from tableinator.transaction import Transaction

_SIZES: Final = """
SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint AS rows,
    coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint AS bytes
FROM pg_class JOIN pg_namespace AS place ON place.oid = relnamespace WHERE nspname = $1 AND relname = ANY($2::text[])
"""

_PACE: Final = """
SELECT (detail ->> 'records')::bigint / nullif(seconds, 0) AS pace FROM spindle_events
WHERE kind = $1 AND phase = 'refine' AND (detail ->> 'records')::bigint >= 1000 ORDER BY at DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a run would do with a kind, and what is there."""

    kind: str
    new: int
    changed: int
    gone: int
    refined: int
    rows: int
    """Rows of its tables by now, about."""
    bytes: int
    """What its tables and their indexes take."""
    pace: float | None
    """Records a second of the last run of a thousand or more; None if there was none."""
    outdated: Sequence[str] = ()
    """Tables that would be made again, because their definition is another by now."""


async def survey(settings: PostgresSettings, schema: str, kinds: Sequence[str]) -> list[Survey]:
    """Compare every record with what is refined, and write nothing.

    Raises: StoreUnavailable; StartRefused if there is nothing to refine.
    """
    patient = settings.model_copy(update={"command_timeout": PATIENCE})
    try:
        async with Connections(patient, size=1) as connections, connections.transaction() as transaction:
            await transaction.execute(f"{TUNED}; SET LOCAL enable_seqscan = on")
            is_there = await schemas.is_there(transaction, check_schema(schema))
            return [await _survey(transaction, schema, kind, is_there=is_there) for kind in kinds]
    except ERRORS as error:
        raise classify(error, alone=True) from error


async def find_dangling(settings: PostgresSettings, schema: str, on_done: OnDone) -> Mapping[str, int]:
    """Note every reference to a record that is not there, by its column. What was noted before is replaced.

    Raises: StoreUnavailable.
    """
    patient = settings.model_copy(update={"command_timeout": PATIENCE})
    statements = list(dangling(check_schema(schema)))
    found = {}
    try:
        async with Connections(patient, size=1) as connections, connections.transaction() as transaction:
            await transaction.execute(f"{TUNED}; SET LOCAL enable_seqscan = on")
            await transaction.execute(f"DELETE FROM {schema}.refine_finding WHERE finding = 'dangling'")
            for number, (column, statement) in enumerate(statements):
                on_done("references: looking", number, len(statements))
                found[column] = int((await transaction.execute(statement)).rpartition(" ")[2])
            await transaction.commit()
    except ERRORS as error:
        raise classify(error, alone=True) from error
    return found


async def findings(settings: PostgresSettings, schema: str) -> list[Mapping[str, Any]]:
    """How many findings there are of each kind, and how many failures.

    Raises: StoreUnavailable.
    """
    counted = f"""
SELECT kind, finding, place, count(*) AS count FROM {check_schema(schema)}.refine_finding
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
    return await _fetch(settings, counted)


async def failures(settings: PostgresSettings, schema: str, kinds: Sequence[str]) -> list[Mapping[str, Any]]:
    """The records that could not be refined, at most a hundred of them.

    Raises: StoreUnavailable.
    """
    named = f"""
SELECT kind, data_id, sqlstate, message FROM {check_schema(schema)}.refine_failure WHERE kind = ANY($1::text[])
ORDER BY kind, data_id LIMIT 100"""
    return await _fetch(settings, named, list(kinds))


async def _fetch(settings: PostgresSettings, statement: str, *arguments: Any) -> list[Mapping[str, Any]]:
    try:
        async with Connections(settings, size=1) as connections, connections.transaction() as transaction:
            return [dict(row) for row in await transaction.fetch(statement, *arguments)]
    except ERRORS as error:
        raise classify(error, alone=True) from error


async def _survey(transaction: Transaction, schema: str, kind: str, *, is_there: bool) -> Survey:
    if not await transaction.fetch("SELECT WHERE to_regclass($1) IS NOT NULL", kind):
        raise StartRefused(f"There is no table {kind}: nothing was ever loaded, or search_path is another.")
    names = [table.name for table in tables_of(kind)]
    [sizes] = await transaction.fetch(_SIZES, schema, names)
    pace = await transaction.fetch(_PACE, kind) if await _has_ledger(transaction) else []
    if not is_there:
        [row] = await transaction.fetch(f"SELECT count(*) AS new FROM {kind}")
        return Survey(kind=kind, new=row["new"], changed=0, gone=0, refined=0, rows=0, bytes=0, pace=_first(pace))
    [row] = await transaction.fetch(Statements(schema, kind).count(), kind, version_of_kind(kind))
    [known] = await transaction.fetch(f"SELECT count(*) AS n FROM {schema}.refine_record WHERE kind = $1", kind)
    found = await schemas.versions(transaction, schema)
    return Survey(
        kind=kind,
        new=row["new"],
        changed=row["changed"],
        gone=row["gone"],
        refined=known["n"],
        rows=sizes["rows"],
        bytes=sizes["bytes"],
        pace=_first(pace),
        outdated=[table.name for table in schemas.outdated(tables_of(kind), found)],
    )


async def _has_ledger(transaction: Transaction) -> bool:
    return bool(await transaction.fetch("SELECT WHERE to_regclass('spindle_events') IS NOT NULL"))


def _first(rows: Sequence[Any]) -> float | None:
    return float(rows[0]["pace"]) if rows and rows[0]["pace"] is not None else None
