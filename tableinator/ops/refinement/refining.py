"""Refine a kind: plan what differs, cut it into ranges, and work them off, each in one transaction with its mark.

A range that is done is gone from `refine_range` in the transaction that wrote its rows. So a run that was killed leaves
no half of anything, and the next one begins with the ranges that are left.
"""

# ruff: noqa: S608 (what is put in are names of closed sets, and a schema whose name is looked at)

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self

import asyncpg

from common.errors import SpindleError, StartRefused
from tableinator.classification import ERRORS, classify
from tableinator.connections import Connections
from tableinator.ops.refinement import schema as schemas
from tableinator.ops.refinement.definitions import Table, table_of, tables_of
from tableinator.ops.refinement.exclusion import alone
from tableinator.ops.refinement.indexes import make_needed
from tableinator.ops.refinement.statements import Statements, check_schema, version_of_kind
from tableinator.settings import PostgresSettings
from tableinator.transaction import Transaction

PATIENCE: Final = 6 * 3600.0
"""Seconds that a statement over a whole table may take."""

PER_RANGE: Final = 1000
"""Records of a transaction: a second or so of work, and some megabytes of bodies in the server's memory."""

_SUSPICIOUS: Final = 20
"""Records of a range from which on it is not theirs if all of them fail, and no other was ever refined."""

_OF_A_RECORD: Final = ("22", "23", "54")
"""Classes of errors that are a record's: a value that can't be, a row that can't be, more than a limit."""

_HORIZON: Final = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS horizon,
    concat_ws(' ', (SELECT system_identifier FROM pg_control_system()),
        (SELECT timeline_id FROM pg_control_checkpoint()), current_database(), to_regclass($1)::oid) AS origin
"""

TUNED: Final = "SET LOCAL jit = off; SET LOCAL work_mem = '64MB'"
"""Compiling a statement for a thousand records takes longer than running it."""

OnDone = Callable[[str, int, int], None]


@dataclass(slots=True)
class Refined:
    """What a run did with a kind."""

    kind: str
    records: int = 0
    """Records that were looked at because they may differ."""
    new: int = 0
    changed: int = 0
    gone: int = 0
    failed: int = 0
    why: str = ""
    """What the server said of the last that failed."""
    inserted: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)
    rebuilt: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """Rows that were written."""
        return self.inserted.total() + self.deleted.total()


@dataclass(slots=True)
class _Claim:
    """A range that is being worked on."""

    number: int
    only: str | None
    ids: list[int]


class Refinement:
    """Refines kinds into one schema, with connections of its own."""

    def __init__(
        self, settings: PostgresSettings, schema: str, *, workers: int, per_range: int = PER_RANGE, on_done: OnDone
    ) -> None:
        self.schema = check_schema(schema)
        self._workers, self._per_range, self._on_done = workers, per_range, on_done
        self._patient = settings.model_copy(update={"command_timeout": PATIENCE})
        self._connections = Connections(settings, size=workers)
        self._connection = Connections(self._patient, size=1)
        """For statements over whole tables."""
        self._settings, self._held = settings, AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._connections.__aenter__()
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._connections.__aexit__(*raised)
        await self._connection.__aexit__(*raised)
        await self._held.aclose()

    async def prepare(self) -> None:
        """Keep other runs away until this one's end, and make what is missing.

        Raises: StartRefused, StoreUnavailable.
        """
        await self._held.enter_async_context(alone(self._settings, self.schema))
        try:
            async with self._transaction() as transaction:
                await schemas.prepare(transaction, self.schema)
                await transaction.commit()
        except ERRORS as error:
            raise classify(error, alone=True) from error

    async def refine(self, kind: str, *, rebuild: Sequence[str] = (), whole: bool = False) -> Refined:
        """Bring a kind's tables up to date; `rebuild` names tables to make again, `whole` compares every record.

        Raises: StoreUnavailable.
        """
        done, began = Refined(kind), time.monotonic()
        try:
            await self._forget_outdated(kind)
            await self._cut(kind, self._per_range)
            await self._work(kind, done)  # what an interrupted run has left
            for table in await self._to_rebuild(kind, rebuild):
                done.rebuilt.append(table.name)
                await self._plan_table(table)
                await self._work(kind, done)
            await self._plan(kind, whole=whole)
            await self._work(kind, done)
            if done.rows:
                await self._analyze(kind)
            done.failed = await self._failures(kind)
        except ERRORS as error:
            raise classify(error, alone=True) from error
        done.seconds = time.monotonic() - began
        return done

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        """One that may read whole tables, and takes its time."""
        async with self._connection.transaction() as transaction:
            await transaction.execute(f"{TUNED}; SET LOCAL enable_seqscan = on")
            yield transaction

    async def _forget_outdated(self, kind: str) -> None:
        """Forget the ranges that an interrupted run has left, if they can't be written: a table is not as it should be.

        Then every record is compared. A table that was being made again is not full yet: it is begun anew.
        """
        async with self._transaction() as transaction:
            if not schemas.outdated(tables_of(kind), await schemas.versions(transaction, self.schema)):
                return
            if not await self._open_ranges(transaction, kind):
                return
            await transaction.execute(
                f"UPDATE {self.schema}.refine_table SET version = '' WHERE name IN "
                f"(SELECT only_table FROM {self.schema}.refine_range WHERE kind = $1)",
                kind,
            )
            for book in ("refine_range", "refine_mark"):
                await transaction.execute(f"DELETE FROM {self.schema}.{book} WHERE kind = $1", kind)
            await transaction.commit()

    async def _to_rebuild(self, kind: str, rebuild: Sequence[str]) -> list[Table]:
        async with self._transaction() as transaction:
            found = await schemas.versions(transaction, self.schema)
        outdated = schemas.outdated(tables_of(kind), found)
        return [*outdated, *(table_of(name) for name in rebuild if table_of(name) not in outdated)]

    async def _plan_table(self, table: Table) -> None:
        statements = Statements(self.schema, table.kind)
        async with self._transaction() as transaction:
            await schemas.make(transaction, self.schema, table)
            await transaction.fetch(statements.plan_table(), table.kind, self._per_range, table.name)
            await transaction.commit()

    async def _plan(self, kind: str, *, whole: bool) -> None:
        """Cut what differs into ranges, and note up to which transaction everything has been seen."""
        statements, mark_table = Statements(self.schema, kind), f"{self.schema}.refine_mark"
        self._on_done(f"{kind}: comparing", 0, 0)
        async with self._transaction() as transaction:
            # Before what is read below: what commits in between is read now, and compared once more the next time.
            [now] = await transaction.fetch(_HORIZON, kind)
            if now["origin"] is None or not await transaction.fetch("SELECT WHERE to_regclass($1) IS NOT NULL", kind):
                raise StartRefused(f"There is no table {kind}: nothing was ever loaded, or search_path is another.")
            marks = await transaction.fetch(f"SELECT horizon, origin FROM {mark_table} WHERE kind = $1", kind)
            horizon = usable_horizon(marks[0] if marks else None, now)
            version = version_of_kind(kind)
            await transaction.fetch(statements.note_strangers(), kind, version)
            plan = statements.plan(whole=whole or horizon is None)
            await transaction.fetch(plan, kind, self._per_range, horizon or 0, version)
            await transaction.execute(
                f"INSERT INTO {mark_table} (kind, horizon, origin) VALUES ($1, $2, $3) ON CONFLICT (kind) "
                "DO UPDATE SET horizon = excluded.horizon, origin = excluded.origin, planned_at = now()",
                *(kind, now["horizon"], now["origin"]),
            )
            await transaction.commit()

    async def _open_ranges(self, transaction: Transaction, kind: str) -> bool:
        ranges = f"SELECT FROM {self.schema}.refine_range WHERE kind = $1 LIMIT 1"
        return bool(await transaction.fetch(ranges, kind))

    async def _work(self, kind: str, done: Refined) -> None:
        """Work off all ranges, several at a time."""
        total = await self._count(kind)
        if not total:
            return
        if await self._has_old(kind):
            await make_needed(self._patient, self.schema, kind, self._on_done)
        at_work = Counter[str]()

        async def worker() -> None:
            while worked := await self._one(kind, done):
                at_work["records"] += worked
                self._on_done(f"{kind}: refining", min(at_work["records"], total), total)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(worker())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        # Of a process that was killed and whose session the server has not ended yet.
        while await self._one(kind, done, waiting=True):
            pass

    async def _count(self, kind: str) -> int:
        left = "SELECT coalesce(sum(cardinality(ids)), 0)::bigint AS n"
        async with self._transaction() as transaction:
            [row] = await transaction.fetch(f"{left} FROM {self.schema}.refine_range WHERE kind = $1", kind)
            return int(row["n"])

    async def _has_old(self, kind: str) -> bool:
        """Whether a range has a record that is refined already, so that its old rows must be found."""
        old = f"""
SELECT FROM {self.schema}.refine_range AS range JOIN {self.schema}.refine_record AS known
    ON known.kind = $1 AND known.id = ANY(range.ids)
WHERE range.kind = $1 AND range.only_table IS NULL LIMIT 1"""
        linked = f"SELECT FROM {self.schema}.release LIMIT 1"
        async with self._transaction() as transaction:
            # A master's word goes to its releases, also that of a new one.
            return bool(await transaction.fetch(old, kind)) or (
                kind == "masters" and bool(await transaction.fetch(linked))
            )

    async def _one(self, kind: str, done: Refined, *, waiting: bool = False) -> int:
        """Work off one range that nobody else works on, or wait for one. Returns: its records; 0 if none is left.

        One that takes longer than a statement may is cut in two until it can be done.
        """
        while True:
            claimed: list[_Claim] = []
            try:
                return await self._claim(kind, done, claimed, waiting=waiting)
            except (asyncpg.QueryCanceledError, TimeoutError):
                if not claimed or len(claimed[0].ids) == 1:
                    raise
            await self._cut(kind, (len(claimed[0].ids) + 1) // 2, claimed[0].number)

    async def _claim(self, kind: str, done: Refined, claimed: list[_Claim], *, waiting: bool) -> int:
        statements, mine = Statements(self.schema, kind), Refined(kind)
        ranges = f"{self.schema}.refine_range"
        next_ = f"SELECT range, only_table, ids FROM {ranges} WHERE kind = $1 ORDER BY range LIMIT 1 FOR UPDATE"
        async with self._connections.transaction() as transaction:
            await transaction.execute(TUNED)
            found = await transaction.fetch(next_ if waiting else f"{next_} SKIP LOCKED", kind)
            if not found:
                return 0
            claim = _Claim(*found[0])
            claimed.append(claim)
            await _Range(transaction, statements, mine).write(claim)
            if mine.failed == len(claim.ids) >= _SUSPICIOUS and not await self._has_any(transaction, kind):
                raise SpindleError(
                    f"None of {len(claim.ids)} {kind} from {claim.ids[0]} on can be refined, and that is no record's "
                    f"fault: {mine.why}. Nothing of them was written."
                )
            await transaction.execute(f"DELETE FROM {ranges} WHERE range = $1", claim.number)
            await transaction.commit()
        _add(done, mine)
        return len(claim.ids)

    async def _cut(self, kind: str, most: int, number: int | None = None) -> None:
        """Cut ranges that nobody works on into some of so many records at most: all of a kind, or one."""
        async with self._transaction() as transaction:
            await transaction.fetch(Statements(self.schema, kind).cut(), kind, most, number)
            await transaction.commit()

    async def _has_any(self, transaction: Transaction, kind: str) -> bool:
        """Whether any of the kind's records could be refined: then definitions and tables are as they should be."""
        refined = f"""
SELECT FROM {self.schema}.refine_record AS known WHERE known.kind = $1 AND NOT EXISTS (
    SELECT FROM {self.schema}.refine_failure AS failed WHERE failed.kind = $1 AND failed.data_id = known.id::text
) LIMIT 1"""
        return bool(await transaction.fetch(refined, kind))

    async def _analyze(self, kind: str) -> None:
        self._on_done(f"{kind}: analysing", 0, 0)
        async with self._transaction() as transaction:
            names = ", ".join(f"{self.schema}.{table.name}" for table in tables_of(kind))
            await transaction.execute(f"ANALYZE {names}")
            await transaction.commit()

    async def _failures(self, kind: str) -> int:
        failures = f"SELECT count(*) AS n FROM {self.schema}.refine_failure WHERE kind = $1"
        async with self._transaction() as transaction:
            return int((await transaction.fetch(failures, kind))[0]["n"])


class _Range:
    """One range's rows, in the transaction that is under way."""

    def __init__(self, transaction: Transaction, statements: Statements, done: Refined) -> None:
        self._transaction, self._statements, self._done = transaction, statements, done

    async def write(self, claim: _Claim) -> None:
        """Write what the range's records are now."""
        await self._apart(claim.ids, claim.only)

    async def _apart(self, ids: list[int], only: str | None) -> None:
        """Write all, or halves of them, down to the records that are refused: log₂ tries for each."""
        await self._transaction.execute("SAVEPOINT part")
        before = _copy(self._done)
        try:
            await (self._again(ids, only) if only else self._refine(ids))
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "")[:2] not in _OF_A_RECORD:
                raise
            await self._transaction.execute("ROLLBACK TO SAVEPOINT part")
            _restore(self._done, before)
            if len(ids) == 1:
                await self._fail(ids[0], error)
                return
            middle = len(ids) // 2
            await self._apart(ids[:middle], only)
            await self._apart(ids[middle:], only)

    async def _again(self, ids: list[int], only: str) -> None:
        self._count(self._done.inserted, await self._transaction.fetch(self._statements.insert_new(only), ids))
        if only == "master":
            await self._link(ids)
        self._done.records += len(ids)

    async def _refine(self, ids: list[int]) -> None:
        kind, fetch = self._statements.kind, self._transaction.fetch
        digests = await fetch(self._statements.digests(), kind, ids)
        new = [row["id"] for row in digests if row["stored"] and not row["known"]]
        changed = [row["id"] for row in digests if row["stored"] and row["known"] and row["stored"] != row["known"]]
        gone = [row["id"] for row in digests if row["known"] and not row["stored"]]
        done = self._done
        if changed:
            self._count(done.deleted, await fetch(self._statements.delete_differing(), changed))
            self._count(done.inserted, await fetch(self._statements.insert_missing(), changed))
        if gone:
            self._count(done.deleted, await fetch(self._statements.delete_all(), gone))
        if new:
            self._count(done.inserted, await fetch(self._statements.insert_new(), new))
        await self._note(kind, {row["id"]: row["stored"] for row in digests}, new, changed, gone)
        done.records += len(ids)
        done.new, done.changed, done.gone = done.new + len(new), done.changed + len(changed), done.gone + len(gone)

    async def _note(
        self, kind: str, digests: dict[int, Any], new: list[int], changed: list[int], gone: list[int]
    ) -> None:
        schema, execute = self._statements.schema, self._transaction.execute
        if changed or gone:
            await execute(self._statements.forget_findings(), kind, changed + gone)
        if written := new + changed:
            await execute(self._statements.note_findings(), written)
            await execute(
                f"INSERT INTO {schema}.refine_record (kind, id, digest) SELECT $1, * FROM "
                "unnest($2::integer[], $3::uuid[]) ON CONFLICT (kind, id) DO UPDATE SET digest = excluded.digest",
                *(kind, written, [digests[number] for number in written]),
            )
        if gone:
            await execute(
                f"DELETE FROM {schema}.refine_record WHERE kind = $1 AND id = ANY($2::integer[])",
                *(kind, gone),
            )
        await self._link(new + changed + gone)
        await execute(
            f"DELETE FROM {schema}.refine_failure WHERE kind = $1 AND data_id = ANY($2::text[])",
            *(kind, [str(number) for number in new + changed + gone]),
        )

    async def _link(self, ids: list[int]) -> None:
        """Have releases follow these records' word, if they are masters."""
        if self._statements.kind != "masters" or not ids:
            return
        tag = await self._transaction.execute(self._statements.link_main(), ids)
        # An update takes a row away and writes another.
        for counter in (self._done.deleted, self._done.inserted):
            self._count(counter, [{"release": int(tag.rpartition(" ")[2])}])

    async def _fail(self, number: int, error: asyncpg.PostgresError) -> None:
        """Name a record that can't be refined, and take its old rows away: they are no longer what it is."""
        schema, kind = self._statements.schema, self._statements.kind
        self._count(self._done.deleted, await self._transaction.fetch(self._statements.delete_all(), [number]))
        await self._transaction.execute(self._statements.forget_findings(), kind, [number])
        await self._link([number])
        digests = await self._transaction.fetch(self._statements.digests(), kind, [number])
        await self._transaction.execute(
            f"INSERT INTO {schema}.refine_record (kind, id, digest) VALUES ($1, $2, $3) "
            "ON CONFLICT (kind, id) DO UPDATE SET digest = excluded.digest",
            *(kind, number, digests[0]["stored"]),
        )
        await self._transaction.execute(
            f"INSERT INTO {schema}.refine_failure (kind, data_id, version, sqlstate, message) "
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, data_id) DO UPDATE SET version = excluded.version, "
            "sqlstate = excluded.sqlstate, message = excluded.message, at = now()",
            *(kind, str(number), version_of_kind(kind), error.sqlstate or "", str(error.args[0])[:500]),
        )
        self._done.records, self._done.failed = self._done.records + 1, self._done.failed + 1
        self._done.why = str(error.args[0])

    @staticmethod
    def _count(counter: Counter[str], rows: Sequence[Any]) -> None:
        for name, count in rows[0].items():
            counter[name] += count


def usable_horizon(mark: Any, now: Any) -> int | None:
    """The 32 bits of the transaction from which on rows are looked at; None if every record must be compared. Pure.

    `mark` and `now`: horizon, a 64-bit number as text, and origin, which tells databases apart: a restored one counts
    anew. Of rows only 32 bits are known, so that the half of a round is the most that can be told apart.
    """
    if mark is None or mark["origin"] != now["origin"]:
        return None
    passed = int(now["horizon"]) - int(mark["horizon"])
    return int(mark["horizon"]) % 2**32 if 0 <= passed < 2**30 else None


def _copy(done: Refined) -> tuple[Any, ...]:
    counts = (done.records, done.new, done.changed, done.gone)
    return (*counts, done.failed, Counter(done.inserted), Counter(done.deleted))


def _restore(done: Refined, before: tuple[Any, ...]) -> None:
    done.records, done.new, done.changed, done.gone, done.failed, done.inserted, done.deleted = before


def _add(done: Refined, more: Refined) -> None:
    done.records, done.new = done.records + more.records, done.new + more.new
    done.changed, done.gone = done.changed + more.changed, done.gone + more.gone
    done.inserted.update(more.inserted)
    done.deleted.update(more.deleted)
