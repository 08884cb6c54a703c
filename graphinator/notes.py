"""One kind's part of the graph's ledger: numbers in a batch's own statement, announcements, and a look."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from msgspec.structs import asdict
from neo4j import AsyncTransaction
from neo4j.exceptions import DriverError, Neo4jError

from common.kinds import KINDS
from common.ledger import View
from common.loads import UNKNOWN, Announcement, Load, LoadErrors, Pause, State, Totals
from common.progress import NOBODY, NUMBERS, Errors, Note, Numbers, Progress, Versioned
from graphinator.classification import Unpackable, classify
from graphinator.ledger import LOAD, LOAD_ERRORS, PAUSE, PROGRESS, key_of
from graphinator.transactions import Transactions, run

T = TypeVar("T")

_SUMS: Final = ", ".join(f"p.{name} = coalesce(p.{name}, 0) + numbers.{name}" for name in NUMBERS)

# A note's own transaction may be its first: then the numbers are all that is set.
_ADD: Final = f"""\
MERGE (p:{PROGRESS.label} {{key: note.key}})
ON CREATE SET p.load = note.load, p.kind = note.kind, p.process = note.process, p.writer = note.writer,
    p.began_at = datetime()
SET p.at = datetime(), {_SUMS},
    p.last_error_at = CASE WHEN note.last_error IS NULL THEN p.last_error_at ELSE datetime() END,
    p.last_error = coalesce(note.last_error, p.last_error)"""

IN_BATCH: Final = f"""\
CALL (new, changed, stale) {{
UNWIND $batch.notes AS note
WITH note, size([i IN new WHERE note.alone OR coalesce($batch.loads[i], '') = note.load]) AS created,
    size([i IN changed WHERE note.alone OR coalesce($batch.loads[i], '') = note.load]) AS replaced,
    size([i IN stale WHERE note.alone OR coalesce($batch.loads[i], '') = note.load]) AS late
WITH note, {{batches: note.batches, new: note.new + created, changed: note.changed + replaced, stale: note.stale + late,
    unchanged: note.unchanged + note.candidates - created - replaced - late, superseded: note.superseded,
    dead_lettered: note.dead_lettered}} AS numbers
{_ADD}
}}"""
"""A part of a kind's `store`, behind its judgement: what the server has really done is what is counted."""

_NOTE: Final = f"CYPHER 5 UNWIND $notes AS note WITH note, note AS numbers\n{_ADD}"

# Of one process: what is counted later happened later.
_NOTE_ERRORS: Final = f"""\
CYPHER 5 UNWIND $errors AS met
MERGE (e:{LOAD_ERRORS.label} {{key: met.key}})
ON CREATE SET e.load = met.load, e.kind = met.kind, e.process = met.process, e.result = met.result,
    e.first_at = met.first_at
SET e.errors = coalesce(e.errors, 0) + met.errors, e.last_error = met.last_error, e.last_at = met.last_at"""

# The first announcement counts, and no announcement takes back what a check has found; what a manifest says of the
# number of records is better than what a message says.
_ANNOUNCE: Final = f"""\
CYPHER 5 MERGE (l:{LOAD.label} {{key: $key}})
ON CREATE SET l.load = $load, l.kind = $kind, l.state = 'running'
SET l.announced_at = coalesce(l.announced_at, datetime()),
    l.published = CASE WHEN l.manifest IS NULL THEN coalesce($published, l.published) ELSE l.published END,
    l.skipped = CASE WHEN l.manifest IS NULL THEN coalesce($skipped, l.skipped) ELSE l.skipped END,
    l.file = coalesce(l.file, $file),
    l.state = CASE l.state WHEN 'running' THEN 'announced' ELSE l.state END"""

_PAUSE: Final = f"""\
CYPHER 5 MATCH (p:{PAUSE.label} {{key: $kind}}) WHERE p.since IS NOT NULL
RETURN p.key AS kind, p.since AS since, p.by AS by, p.reason AS reason"""

LOADS: Final = f"CYPHER 5 MATCH (l:{LOAD.label}) WHERE l.kind IN $kinds RETURN properties(l) AS known"

PROGRESSES: Final = f"""\
CYPHER 5 MATCH (p:{PROGRESS.label}) WHERE p.kind IN $kinds WITH p ORDER BY p.last_error_at
RETURN p.load AS load, p.kind AS kind, min(p.began_at) AS began_at, max(p.at) AS at,
    {", ".join(f"sum(p.{name}) AS {name}" for name in NUMBERS)},
    last(collect(p.last_error)) AS last_error, max(p.last_error_at) AS last_error_at"""

_READ_ERRORS: Final = f"""\
CYPHER 5 MATCH (e:{LOAD_ERRORS.label}) WHERE e.kind IN $kinds AND e.load IS NOT NULL AND e.result IS NOT NULL
WITH e ORDER BY e.last_at
RETURN e.load AS load, e.kind AS kind, e.result AS result, sum(e.errors) AS errors,
    last(collect(e.last_error)) AS last_error, min(e.first_at) AS first_at, max(e.last_at) AS last_at
ORDER BY load DESC, kind, result"""

_OF_LOAD: Final = frozenset(each.name for each in fields(Load)) - {"totals", "state"}


class GraphLedger:
    """A kind's part of the ledger; see `common.ledger.Ledger`. `process`: a name that no other process has."""

    # Kinds that write wait for each other here; a look every few seconds would keep the others out each time.
    takes_turns = False

    def __init__(
        self, transactions: Transactions, kind: str, process: str, *, desk: asyncio.Semaphore | None = None
    ) -> None:
        """`desk`: shared by all kinds of a process, for which there is one connection more than writers."""
        self._transactions, self._kind, self._process = transactions, kind, process
        self._desk = desk or asyncio.Semaphore(1)
        self.progress = Progress()

    def parameters(self, note: Note, candidates: Sequence[Versioned]) -> list[dict[str, Any]]:
        """What `IN_BATCH` takes; `candidates`: the records that the statement judges, counted by it."""
        loads = [record.version or UNKNOWN for record in candidates]
        alone = len(set(loads)) == 1
        return [
            {
                **self._row(load, numbers, note.writer),
                "alone": alone and load == loads[0],
                "candidates": len(loads) if alone and load == loads[0] else loads.count(load),
            }
            for load, numbers in sorted(note.by_load.items())
        ]

    def trial(self) -> list[dict[str, Any]]:
        """The same for a transaction that is rolled back: whether the ledger would take a note."""
        return self.parameters(Note(NOBODY, {UNKNOWN: Numbers()}), [])

    def _row(self, load: str, numbers: Any, writer: int) -> dict[str, Any]:
        return {
            "key": f"{key_of(load, self._kind)} {self._process} {writer}",
            "load": load,
            "kind": self._kind,
            "process": self._process,
            "writer": writer,
            "last_error": numbers.last_error,
            **{name: getattr(numbers, name) for name in NUMBERS},
        }

    def _rows_of_errors(self, errors: Mapping[tuple[str, str], Errors]) -> list[dict[str, Any]]:
        return [
            {
                "key": f"{key_of(load, self._kind)} {self._process} {result}",
                "load": load,
                "kind": self._kind,
                "process": self._process,
                "result": result,
                **asdict(met),
            }
            for (load, result), met in sorted(errors.items())
        ]

    async def note(self) -> None:
        """Write the numbers that wait, then the errors; see `common.ledger.Ledger`."""

        async def write(transaction: AsyncTransaction) -> None:
            with self.progress.taking({}) as note:
                rows = [self._row(load, numbers, note.writer) for load, numbers in sorted(note.by_load.items())]
                await (await run(transaction, _NOTE, {"notes": rows})).consume()
                await transaction.commit()

        async def write_errors(transaction: AsyncTransaction) -> None:
            with self.progress.taking_errors() as errors:
                rows = {"errors": self._rows_of_errors(errors)}
                await (await run(transaction, _NOTE_ERRORS, rows)).consume()
                await transaction.commit()

        if self.progress.has_numbers:
            await self._transact(write)
        if self.progress.has_errors:
            await self._transact(write_errors)

    async def try_errors(self) -> None:
        """Write errors as `note` does, in a transaction that is rolled back.

        Raises: as `Sink.write`.
        """
        now = datetime.now(UTC)
        rows = {"errors": self._rows_of_errors({(UNKNOWN, ""): Errors(0, "", now, now)})}

        async def write(transaction: AsyncTransaction) -> None:
            await (await run(transaction, _NOTE_ERRORS, rows)).consume()

        await self._transact(write)

    async def announce(self, announcement: Announcement) -> None:
        """Write that all of a load was published; see `common.ledger.Ledger`."""
        parameters = {each.name: getattr(announcement, each.name) for each in fields(announcement)}
        parameters |= {"key": key_of(announcement.load, self._kind), "kind": self._kind}

        async def write(transaction: AsyncTransaction) -> None:
            await (await run(transaction, _ANNOUNCE, parameters)).consume()
            await transaction.commit()

        await self._transact(write)

    async def look(self) -> View:
        """Read pause and newest load; see `common.ledger.Ledger`."""

        async def read(transaction: AsyncTransaction) -> View:
            pauses = [Pause(**native(row)) for row in await _rows(transaction, _PAUSE, {"kind": self._kind})]
            loads = await read_loads_in(transaction, [self._kind])
            return View(next(iter(pauses), None), next(iter(loads), None))

        return await self._transact(read)

    async def _transact(self, work: Callable[[AsyncTransaction], Awaitable[T]]) -> T:
        try:
            async with self._desk:
                return await self._transactions.run(work)
        except (Neo4jError, DriverError, OSError, Unpackable) as error:
            raise classify(error, alone=True) from error


async def read_loads_in(transaction: AsyncTransaction, kinds: Sequence[str] = KINDS) -> list[Load]:
    """Every load of these kinds that the ledger knows, the newest first."""
    asked = {"kinds": list(kinds)}
    known = {
        (row["known"]["load"], row["known"]["kind"]): row["known"] for row in await _rows(transaction, LOADS, asked)
    }
    totals = {(row["load"], row["kind"]): _totals(row) for row in await _rows(transaction, PROGRESSES, asked)}
    loads = [_load(*key, known.get(key, {}), totals.get(key, Totals())) for key in {**known, **totals}]
    return sorted(sorted(loads, key=lambda load: load.kind), key=lambda load: load.load, reverse=True)


async def read_errors_in(transaction: AsyncTransaction) -> list[LoadErrors]:
    """What errors the loads met, the newest load first; another's nodes of this label are left out."""
    return [LoadErrors(**native(row)) for row in await _rows(transaction, _READ_ERRORS, {"kinds": list(KINDS)})]


def native(values: Mapping[str, Any]) -> dict[str, Any]:
    """With Python's own dates in place of the driver's."""
    return {name: value.to_native() if hasattr(value, "to_native") else value for name, value in values.items()}


def _load(load: str, kind: str, known: Mapping[str, Any], totals: Totals) -> Load:
    values = {name: value for name, value in native(known).items() if name in _OF_LOAD}
    state = State(known.get("state") or State.RUNNING)
    return Load(**{**values, "load": load, "kind": kind, "state": state, "totals": totals})


def _totals(row: Mapping[str, Any]) -> Totals:
    return Totals(**{name: value for name, value in native(row).items() if name not in ("load", "kind")})


async def _rows(
    transaction: AsyncTransaction, statement: str, parameters: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    return [dict(row) async for row in await run(transaction, statement, parameters)]
