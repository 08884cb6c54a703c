"""The graph's ledger, for the operator's commands: what a check or a removal found is written, loads are read."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from neo4j import AsyncTransaction, Record
from neo4j.exceptions import DriverError, Neo4jError

from common.loads import Checked, Load, LoadErrors, Pause, Removed, State
from graphinator.classification import classify
from graphinator.ledger import LOAD, PAUSE, key_of
from graphinator.notes import native, read_errors_in, read_loads_in
from graphinator.settings import Neo4jSettings
from graphinator.store import open_driver
from graphinator.transactions import Transactions

T = TypeVar("T")

_CHECK: Final = f"""\
CYPHER 5 MERGE (l:{LOAD.label} {{key: $key}})
SET l.load = $load, l.kind = $kind, l.state = $state, l.missing = $missing, l.different = $different, l.dead = $dead,
    l.newer = $newer, l.gone = $gone, l.reason = $reason, l.checked_at = datetime(), l.check_seconds = $seconds,
    l.manifest = coalesce($manifest, l.manifest), l.published = coalesce($published, l.published),
    l.skipped = coalesce($skipped, l.skipped), l.file = coalesce($file, l.file),
    l.file_sha256 = coalesce($file_sha256, l.file_sha256)"""

# What is gone is known again by the next check only.
_REMOVAL: Final = f"""\
CYPHER 5 MERGE (l:{LOAD.label} {{key: $key}})
ON CREATE SET l.load = $load, l.kind = $kind, l.state = 'running'
SET l.removed = CASE WHEN coalesce(l.removed, 0) + $removed < 0 THEN 0 ELSE coalesce(l.removed, 0) + $removed END,
    l.removed_at = datetime(), l.removal_seconds = $seconds"""

_PAUSE: Final = f"""\
CYPHER 5 UNWIND $kinds AS kind MERGE (p:{PAUSE.label} {{key: kind}})
SET p.since = $since, p.by = $by, p.reason = $reason"""

_PAUSES: Final = f"""\
CYPHER 5 MATCH (p:{PAUSE.label}) WHERE p.since IS NOT NULL
RETURN p.key AS kind, p.since AS since, p.by AS by, p.reason AS reason ORDER BY kind"""


async def record_check(settings: Neo4jSettings, found: Checked) -> None:
    """Write what a check found; it replaces what an earlier one did.

    Raises: a SinkError.
    """
    await _write(settings, _CHECK, {"key": key_of(found.load, found.kind), **_values(found)})


async def record_removal(settings: Neo4jSettings, removed: Removed) -> None:
    """Add to what was removed as gone from a load; a negative number takes back.

    Raises: a SinkError.
    """
    await _write(settings, _REMOVAL, {"key": key_of(removed.load, removed.kind), **_values(removed)})


async def read_loads(settings: Neo4jSettings) -> list[Load]:
    """Every load that the ledger knows, the newest first; none where there is no ledger yet.

    Raises: a SinkError.
    """
    return await _transact(settings, read_loads_in)


async def read_errors(settings: Neo4jSettings) -> list[LoadErrors]:
    """What errors the loads met, the newest load first; none where the ledger is of a version that kept none.

    Raises: a SinkError.
    """
    return await _transact(settings, read_errors_in)


async def set_pause(settings: Neo4jSettings, kinds: Sequence[str], *, by: str, reason: str, paused: bool) -> None:
    """Pause kinds, or let them go on.

    Raises: a SinkError.
    """
    since = datetime.now(UTC) if paused else None
    await _write(settings, _PAUSE, {"kinds": sorted(kinds), "since": since, "by": by, "reason": reason})


async def read_pauses(settings: Neo4jSettings) -> list[Pause]:
    """Which kinds are paused.

    Raises: a SinkError.
    """
    return [Pause(**native(dict(row))) for row in await _read(settings, _PAUSES)]


def _values(found: Checked | Removed) -> dict[str, Any]:
    values = {each.name: getattr(found, each.name) for each in fields(found)}
    return {name: str(value) if isinstance(value, State) else value for name, value in values.items()}


async def _write(settings: Neo4jSettings, statement: str, parameters: Mapping[str, Any]) -> None:
    async def work(transaction: AsyncTransaction) -> list[Record]:
        rows = await _rows(transaction, statement, parameters)
        await transaction.commit()
        return rows

    await _transact(settings, work)


async def _read(settings: Neo4jSettings, statement: str) -> list[Record]:
    async def work(transaction: AsyncTransaction) -> list[Record]:
        return await _rows(transaction, statement, {})

    return await _transact(settings, work)


async def _rows(transaction: AsyncTransaction, statement: str, parameters: Mapping[str, Any]) -> list[Record]:
    # The text is made of the ledger's labels, never of a value.
    return [row async for row in await transaction.run(statement, dict(parameters))]


async def _transact(settings: Neo4jSettings, work: Callable[[AsyncTransaction], Awaitable[T]]) -> T:
    try:
        async with (
            asyncio.timeout(2 * settings.connect_timeout + settings.transaction_timeout),
            open_driver(settings) as driver,
        ):
            transactions = Transactions(
                driver,
                database=settings.database,
                connect_timeout=settings.connect_timeout,
                transaction_timeout=settings.transaction_timeout,
            )
            return await transactions.run(work)
    except (Neo4jError, DriverError, OSError) as error:
        raise classify(error) from error
