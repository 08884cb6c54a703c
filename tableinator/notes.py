"""One kind's part of the tables' ledger: numbers in a batch's own transaction, announcements, and a look."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from common.errors import StoreUnavailable, WriteConflict
from common.ledger import View
from common.loads import UNKNOWN, Announcement, Load, Pause, State, Totals
from common.progress import NOBODY, NUMBERS, Errors, Note, Numbers, Progress
from tableinator.classification import ERRORS, classify
from tableinator.connections import Connections
from tableinator.transaction import Transaction

T = TypeVar("T")

# Made of the numbers' names, never of a value.
_NOTE: Final = f"""
INSERT INTO spindle_progress AS known (load, kind, process, writer, {", ".join(NUMBERS)}, last_error, last_error_at)
VALUES ($1, $2, $3, $4, {", ".join(f"${place}" for place in range(5, 5 + len(NUMBERS)))}, $12::text,
    CASE WHEN $12::text IS NOT NULL THEN now() END)
ON CONFLICT (load, kind, process, writer) DO UPDATE SET at = excluded.at,
    {", ".join(f"{name} = known.{name} + excluded.{name}" for name in NUMBERS)},
    last_error = coalesce(excluded.last_error, known.last_error),
    last_error_at = coalesce(excluded.last_error_at, known.last_error_at)
"""  # noqa: S608

# Of one process: what is counted later happened later.
_NOTE_ERRORS: Final = """
INSERT INTO spindle_errors AS known (load, kind, process, result, errors, last_error, first_at, last_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (load, kind, process, result) DO UPDATE SET
    errors = known.errors + excluded.errors, last_error = excluded.last_error, last_at = excluded.last_at
"""

# Nobody needs the errors at once, and what waits for them has the kind's turn: the next batch, pause and announcements.
_PATIENCE: Final = "SET LOCAL lock_timeout = '1s'"

# The first announcement counts, and no announcement takes back what a check has found; what a manifest says of the
# number of records is better than what a message says. The event is told once.
_ANNOUNCE: Final = """
WITH told AS (
    INSERT INTO spindle_loads AS known (load, kind, announced_at, published, skipped, file, state)
    VALUES ($1, $2, now(), $3, $4, $5, 'announced')
    ON CONFLICT (load, kind) DO UPDATE SET
        announced_at = coalesce(known.announced_at, excluded.announced_at),
        published = CASE WHEN known.manifest IS NULL THEN coalesce(excluded.published, known.published)
            ELSE known.published END,
        skipped = CASE WHEN known.manifest IS NULL THEN coalesce(excluded.skipped, known.skipped)
            ELSE known.skipped END,
        file = coalesce(known.file, excluded.file),
        state = CASE WHEN known.state = 'running' THEN 'announced' ELSE known.state END
    RETURNING announced_at = now() AS is_first
)
INSERT INTO spindle_events (load, kind, phase, event, rows, seconds)
SELECT $1, $2, 'load', 'announced', $3, (
    SELECT extract(epoch FROM now() - min(began_at))::double precision FROM spindle_progress
    WHERE load = $1 AND kind = $2
) FROM told WHERE is_first
"""

_PAUSE: Final = "SELECT kind, since, by, reason FROM spindle_pauses WHERE kind = $1 AND since IS NOT NULL"

_NEWEST: Final = """
WITH newest AS (
    SELECT load FROM (
        SELECT load FROM spindle_loads WHERE kind = $1 UNION ALL SELECT load FROM spindle_progress WHERE kind = $1
    ) AS known ORDER BY load COLLATE "C" DESC LIMIT 1
), totals AS (
    SELECT min(began_at) AS began_at, max(at) AS at, sum(batches)::bigint AS batches,
        sum(new)::bigint AS new, sum(changed)::bigint AS changed, sum(unchanged)::bigint AS unchanged,
        sum(stale)::bigint AS stale, sum(superseded)::bigint AS superseded, sum(dead_lettered)::bigint AS dead_lettered
    FROM spindle_progress JOIN newest USING (load) WHERE kind = $1
)
SELECT newest.load, $1 AS kind, coalesce(state, 'running') AS state, announced_at, published, skipped, checked_at,
    missing, different, dead, newer, gone, removed, removed_at, totals.*
FROM newest CROSS JOIN totals LEFT JOIN spindle_loads ON spindle_loads.load = newest.load AND kind = $1
"""

_TOTALS: Final = frozenset(each.name for each in fields(Totals))


class TableLedger:
    """A kind's part of the ledger; see `common.ledger.Ledger`. `process`: a name that no other process has."""

    def __init__(self, connections: Connections, kind: str, process: str) -> None:
        self._connections, self._kind, self._process = connections, kind, process
        self.progress = Progress()

    takes_turns = True

    async def write(self, transaction: Transaction, note: Note) -> None:
        """Add to the ledger, within a transaction.

        Raises: StoreUnavailable, WriteConflict: whatever is the matter with the ledger, it is no record's fault.
        """
        with _no_records_fault("spindle_progress"):
            await self._write_numbers(transaction, note)

    async def try_to_write(self, transaction: Transaction) -> None:
        """Write what `write` would, in a transaction that is rolled back.

        Raises: as `write`.
        """
        await self.write(transaction, Note(NOBODY, {UNKNOWN: Numbers()}))

    async def try_everything(self, transaction: Transaction) -> None:
        """Write and read what a service does, in a transaction that is rolled back.

        Raises: as `write`; what the driver raises.
        """
        await self.try_to_write(transaction)
        now = datetime.now(UTC)
        await self._write_errors(transaction, {(UNKNOWN, ""): Errors(0, "", now, now)})
        await self._announce(transaction, Announcement(load=UNKNOWN, kind=self._kind))
        await self._look(transaction)

    async def _write_numbers(self, transaction: Transaction, note: Note) -> None:
        for load, numbers in sorted(note.by_load.items()):
            counted = [getattr(numbers, name) for name in NUMBERS]
            await transaction.execute(_NOTE, load, self._kind, self._process, note.writer, *counted, numbers.last_error)

    async def _write_errors(self, transaction: Transaction, errors: Mapping[tuple[str, str], Errors]) -> None:
        with _no_records_fault("spindle_errors"):
            for (load, result), met in sorted(errors.items()):
                counted = (met.errors, met.last_error, met.first_at, met.last_at)
                await transaction.execute(_NOTE_ERRORS, load, self._kind, self._process, result, *counted)

    async def note(self) -> None:
        """Write the numbers that wait, then the errors; see `common.ledger.Ledger`."""

        async def write(transaction: Transaction) -> None:
            with self.progress.taking({}) as note:
                await self.write(transaction, note)
                await transaction.commit()

        async def write_errors(transaction: Transaction) -> None:
            with self.progress.taking_errors() as errors:
                await transaction.execute(_PATIENCE)
                await self._write_errors(transaction, errors)
                await transaction.commit()

        if self.progress.has_numbers:
            await self._transact(write)
        if self.progress.has_errors:
            await self._transact(write_errors)

    async def announce(self, announcement: Announcement) -> None:
        """Write that all of a load was published; see `common.ledger.Ledger`."""

        async def write(transaction: Transaction) -> None:
            await self._announce(transaction, announcement)
            await transaction.commit()

        await self._transact(write)

    async def look(self) -> View:
        """Read pause and newest load; see `common.ledger.Ledger`."""
        return await self._transact(self._look)

    async def _announce(self, transaction: Transaction, told: Announcement) -> None:
        await transaction.execute(_ANNOUNCE, told.load, self._kind, told.published, told.skipped, told.file)

    async def _look(self, transaction: Transaction) -> View:
        pauses = [Pause(**row) for row in await transaction.fetch(_PAUSE, self._kind)]
        loads = [_load(dict(row)) for row in await transaction.fetch(_NEWEST, self._kind)]
        return View(next(iter(pauses), None), next(iter(loads), None))

    async def _transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        try:
            async with self._connections.transaction() as transaction:
                return await work(transaction)
        except ERRORS as error:
            raise classify(error, alone=True) from error


@contextmanager
def _no_records_fault(table: str) -> Iterator[None]:
    """Whatever a table of the ledger's refuses is an outage.

    Raises: StoreUnavailable, WriteConflict.
    """
    try:
        yield
    except ERRORS as error:
        problem = classify(error, alone=False)  # (no sentence about a single record)
        if isinstance(problem, StoreUnavailable | WriteConflict):
            raise problem from error
        alarm = f"PostgreSQL refuses {table}, the ledger's table: look at its triggers and locks ({problem})."
        raise StoreUnavailable(str(problem), alarm=alarm, error_class=problem.error_class, code=problem.code) from error


def _load(row: Mapping[str, Any]) -> Load:
    totals = Totals(**{name: value for name, value in row.items() if name in _TOTALS and value is not None})
    known = {name: value for name, value in row.items() if name not in _TOTALS and name != "state"}
    return Load(**known, state=State(row["state"]), totals=totals)
