"""The tables' ledger, for the operator's commands: what a check or a removal found is written, loads are read."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from common.loads import UNKNOWN, Checked, Load, LoadErrors, Pause, Removed, State, Totals
from tableinator.classification import ERRORS, classify
from tableinator.connections import Connections, reading
from tableinator.ledger import SUMS_OF_ERRORS
from tableinator.settings import PostgresSettings
from tableinator.transaction import Transaction

_CHECK: Final = """
INSERT INTO spindle_loads AS known (load, kind, state, missing, different, dead, newer, gone, manifest, published,
    skipped, file, file_sha256, reason, checked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, now())
ON CONFLICT (load, kind) DO UPDATE SET
    state = excluded.state, missing = excluded.missing, different = excluded.different, dead = excluded.dead,
    newer = excluded.newer, gone = excluded.gone, reason = excluded.reason, checked_at = excluded.checked_at,
    manifest = coalesce(excluded.manifest, known.manifest), published = coalesce(excluded.published, known.published),
    skipped = coalesce(excluded.skipped, known.skipped), file = coalesce(excluded.file, known.file),
    file_sha256 = coalesce(excluded.file_sha256, known.file_sha256)
"""

# What is gone is known again by the next check only.
_REMOVAL: Final = """
INSERT INTO spindle_loads AS known (load, kind, state, removed, removed_at) VALUES ($1, $2, 'running', $3, now())
ON CONFLICT (load, kind) DO UPDATE SET
    removed = greatest(0, coalesce(known.removed, 0) + excluded.removed), removed_at = excluded.removed_at
"""

_EVENT: Final = """
INSERT INTO spindle_events (load, kind, phase, event, rows, seconds, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

_PAUSE: Final = """
INSERT INTO spindle_pauses AS known (kind, since, by, reason) VALUES ($1, $2, $3, $4)
ON CONFLICT (kind) DO UPDATE SET since = excluded.since, by = excluded.by, reason = excluded.reason
"""

_LOADS: Final = """
WITH progress AS (
    SELECT load, kind, min(began_at) AS began_at, max(at) AS at, sum(batches)::bigint AS batches,
        sum(new)::bigint AS new, sum(changed)::bigint AS changed, sum(unchanged)::bigint AS unchanged,
        sum(stale)::bigint AS stale, sum(superseded)::bigint AS superseded,
        sum(dead_lettered)::bigint AS dead_lettered,
        (array_agg(last_error ORDER BY last_error_at DESC) FILTER (WHERE last_error_at IS NOT NULL))[1] AS last_error,
        max(last_error_at) AS last_error_at
    FROM spindle_progress GROUP BY load, kind
)
SELECT * FROM spindle_loads FULL JOIN progress USING (load, kind) ORDER BY load COLLATE "C" DESC, kind
"""

# Of the table, because the view may be missing where the service's login may not make it.
_LOAD_ERRORS: Final = f"""
SELECT load, kind, {SUMS_OF_ERRORS} ORDER BY load COLLATE "C" DESC, kind, result
"""

_PAUSES: Final = "SELECT kind, since, by, reason FROM spindle_pauses WHERE since IS NOT NULL ORDER BY kind"

_EXIST: Final = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest($1::text[]) AS name"

_TOTALS: Final = frozenset(each.name for each in fields(Totals))
_OF_LOAD: Final = frozenset(each.name for each in fields(Load)) - {"totals", "state"}


async def record_check(settings: PostgresSettings, found: Checked) -> None:
    """Write what a check found; it replaces what an earlier one did.

    Raises: a SinkError.
    """
    detail = {
        name: getattr(found, name) for name in ("missing", "different", "dead", "newer", "gone", "manifest", "reason")
    }
    async with _writing(settings) as transaction:
        await transaction.execute(
            _CHECK,
            *(found.load, found.kind, found.state, found.missing, found.different, found.dead, found.newer),
            *(found.gone, found.manifest, found.published, found.skipped, found.file, found.file_sha256, found.reason),
        )
        rows = found.missing + found.different
        await _tell(transaction, found, "check", found.state, rows, found.seconds, detail)
        await transaction.commit()


async def record_removal(settings: PostgresSettings, removed: Removed) -> None:
    """Add to what was removed as gone from a load; a negative number takes back.

    Raises: a SinkError.
    """
    event = "removed" if removed.removed >= 0 else "undone"
    async with _writing(settings) as transaction:
        await transaction.execute(_REMOVAL, removed.load, removed.kind, removed.removed)
        await _tell(transaction, removed, "removal", event, abs(removed.removed), removed.seconds, {})
        await transaction.commit()


async def record_event(
    settings: PostgresSettings,
    kind: str,
    phase: str,
    event: str,
    *,
    rows: int,
    seconds: float,
    detail: Mapping[str, Any],
) -> None:
    """Write down that something was done with a kind that belongs to no load.

    Raises: a SinkError.
    """
    async with _writing(settings) as transaction:
        await transaction.execute(_EVENT, UNKNOWN, kind, phase, event, rows, seconds, _json(detail))
        await transaction.commit()


async def read_loads(settings: PostgresSettings) -> list[Load]:
    """Every load that the ledger knows, the newest first; none where there is no ledger yet.

    Raises: a SinkError.
    """
    return [_load(row) for row in await _read(settings, _LOADS, "spindle_loads", "spindle_progress")]


async def read_errors(settings: PostgresSettings) -> list[LoadErrors]:
    """What errors the loads met, the newest load first; none where there is no ledger yet.

    Raises: a SinkError, also where the ledger is of a version that kept none: nobody knows then.
    """
    return [LoadErrors(**row) for row in await _read(settings, _LOAD_ERRORS, "spindle_loads")]


async def set_pause(settings: PostgresSettings, kinds: Sequence[str], *, by: str, reason: str, paused: bool) -> None:
    """Pause kinds, or let them go on.

    Raises: a SinkError.
    """
    since = datetime.now(UTC) if paused else None
    async with _writing(settings) as transaction:
        for kind in sorted(kinds):
            await transaction.execute(_PAUSE, kind, since, by, reason)
            await transaction.execute(
                _EVENT, "", kind, "pause", "paused" if paused else "resumed", None, None, _json({"by": by})
            )
        await transaction.commit()


async def read_pauses(settings: PostgresSettings) -> list[Pause]:
    """Which kinds are paused.

    Raises: a SinkError.
    """
    return [Pause(**row) for row in await _read(settings, _PAUSES, "spindle_pauses")]


async def _tell(
    transaction: Transaction,
    what: Checked | Removed,
    phase: str,
    event: str,
    rows: int,
    seconds: float | None,
    detail: Mapping[str, Any],
) -> None:
    await transaction.execute(_EVENT, what.load, what.kind, phase, event, rows, seconds, _json(detail))


def _json(detail: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({name: value for name, value in detail.items() if value is not None})


def _load(row: Mapping[str, Any]) -> Load:
    totals = {name: value for name, value in row.items() if name in _TOTALS and value is not None}
    known = {name: value for name, value in row.items() if name in _OF_LOAD}
    return Load(**known, state=State(row["state"] or State.RUNNING), totals=Totals(**totals))


@asynccontextmanager
async def _writing(settings: PostgresSettings) -> AsyncIterator[Transaction]:
    try:
        async with Connections(settings, size=1) as connections, connections.transaction() as transaction:
            yield transaction
    except ERRORS as error:
        raise classify(error, alone=True) from error


async def _read(settings: PostgresSettings, statement: str, *tables: str) -> Sequence[Mapping[str, Any]]:
    """Read from these tables; nothing where one is missing."""
    try:
        async with reading(settings) as session:
            if not await session.fetchval(_EXIST, tables, timeout=settings.command_timeout):
                return []
            return [dict(row) for row in await session.fetch(statement, timeout=settings.command_timeout)]
    except ERRORS as error:
        raise classify(error, alone=True) from error
