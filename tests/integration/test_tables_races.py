"""Two replicas at the same records: the statements' conditions decide, and each record counts as what became of it."""

import asyncio
from collections.abc import AsyncIterator
from itertools import product

import asyncpg
import pytest

from common.outcomes import Outcomes
from tableinator.connections import Connections
from tableinator.decision import StoredState, by_id, decide
from tableinator.model import Row
from tableinator.sink import TableSink
from tableinator.statements import Statements
from tableinator.store import open_store
from tableinator.writing import upsert
from tests.integration.tables import fetch, row, run, settings, wait_until_blocked

OLDER, VERSION, NEWER = "20250101", "20250201", "20250301"


@pytest.fixture
async def sink(dsn: str) -> AsyncIterator[TableSink]:
    async with open_store(settings(dsn, command_timeout=10.0)) as store:
        yield store.sink("artists")


@pytest.fixture
async def other(dsn: str, sink: TableSink) -> AsyncIterator[asyncpg.Connection]:
    """Another replica's connection, with a transaction under way."""
    connection = await asyncpg.connect(dsn, timeout=10)
    await connection.execute("BEGIN")
    yield connection
    await connection.close(timeout=30)


async def write_while(dsn: str, sink: TableSink, rows: list[Row], other: asyncpg.Connection) -> Outcomes:
    """Write until it waits for the other's lock, let the other commit, and return what became of the write."""
    async with asyncio.TaskGroup() as group:
        write = group.create_task(sink.write(rows))
        await wait_until_blocked(dsn)
        await other.execute("COMMIT")
    return write.result()


async def insert(other: asyncpg.Connection, rows: list[Row]) -> None:
    for each in rows:
        await other.execute(
            "INSERT INTO artists (data_id, hash, data, version) VALUES ($1, $2, $3, $4)",
            each.id,
            each.hash,
            each.body.decode(),
            each.version,
        )


async def test_a_batch_outrun_by_another_replica_is_counted_as_it_ended(
    dsn: str, sink: TableSink, other: asyncpg.Connection
) -> None:
    same, older, newer = row("1"), row("2", b"[2]", version=OLDER), row("3", b"[3]", version=NEWER)
    await insert(other, [same, older, newer])

    outcomes = await write_while(dsn, sink, [row(str(number)) for number in range(5)], other)

    assert outcomes == Outcomes(new=2, changed=1, unchanged=1, stale=1)
    stored = await fetch(dsn, "SELECT data_id, data::text, version FROM artists ORDER BY data_id")
    assert [tuple(each) for each in stored] == [
        ("0", '{"a": 1}', VERSION),
        ("1", '{"a": 1}', VERSION),
        ("2", '{"a": 1}', VERSION),
        ("3", "[3]", NEWER),
        ("4", '{"a": 1}', VERSION),
    ]


@pytest.mark.parametrize(
    ("meanwhile", "outcomes"),
    [
        (row("1", b"[2]", version=NEWER), Outcomes(stale=1)),
        (row("1", b"[1]", version=NEWER), Outcomes(unchanged=1)),
        (row("1", b"[2]", version=VERSION), Outcomes(changed=1)),
        (row("1", b"[2]", version=None), Outcomes(changed=1)),
    ],
)
async def test_a_record_changed_by_another_replica_after_the_look_up_is_judged_again(
    dsn: str, sink: TableSink, other: asyncpg.Connection, meanwhile: Row, outcomes: Outcomes
) -> None:
    """Fault 61."""
    await sink.write([row("1", b"[0]", version=OLDER)])
    await other.execute(
        "UPDATE artists SET hash = $1, data = $2, version = $3",
        meanwhile.hash,
        meanwhile.body.decode(),
        meanwhile.version,
    )

    assert await write_while(dsn, sink, [row("1", b"[1]", version=VERSION)], other) == outcomes


async def test_races_end_the_same_where_the_database_is_serializable_by_default(
    dsn: str, sink: TableSink, other: asyncpg.Connection
) -> None:
    await sink.write([row("1", b"[0]")])
    await other.execute("UPDATE artists SET data = '[2]', hash = 'other'")

    async with open_store(settings(f"{dsn}&default_transaction_isolation=serializable")) as store:
        outcomes = await write_while(dsn, store.sink("artists"), [row("1", b"[1]")], other)

    assert outcomes == Outcomes(changed=1)


async def test_a_record_deleted_after_the_look_up_is_new(dsn: str, sink: TableSink, other: asyncpg.Connection) -> None:
    await sink.write([row("1")])
    await other.execute("DELETE FROM artists")

    assert await write_while(dsn, sink, [row("1", b"[1]")], other) == Outcomes(new=1)


async def test_an_unchanged_record_is_not_touched(dsn: str, sink: TableSink) -> None:
    await sink.write([row("1")])
    before = await fetch(dsn, "SELECT xmin::text, ctid::text, updated_at FROM artists")

    await sink.write([row("1"), row("2")])

    assert await fetch(dsn, "SELECT xmin::text, ctid::text, updated_at FROM artists WHERE data_id = '1'") == before


async def test_a_change_moves_updated_at_and_a_rewrite_does_not(dsn: str, sink: TableSink) -> None:
    await sink.write([row("1")])
    times = [await fetch(dsn, "SELECT updated_at FROM artists")]

    assert await sink.rewrite(row("1"))
    times.append(await fetch(dsn, "SELECT updated_at FROM artists"))
    await sink.write([row("1", b"[1]")])
    times.append(await fetch(dsn, "SELECT updated_at FROM artists"))

    assert times[0] == times[1] < times[2]


async def test_a_rewrite_is_really_written(dsn: str, sink: TableSink) -> None:
    await sink.write([row("1")])
    before = await fetch(dsn, "SELECT xmin::text FROM artists")

    await sink.rewrite(row("1"))

    assert await fetch(dsn, "SELECT xmin::text FROM artists") != before


async def test_the_condition_of_the_upsert_is_the_decision_for_every_hash_and_version(
    dsn: str, sink: TableSink
) -> None:
    """SQL and Python agree, for odd versions too: without that a race would end otherwise than a look-up says."""
    versions = [None, OLDER, NEWER, "", "9", "10", "Z", "a", "é", "20250101 "]
    cases = list(product(["", "a", "b"], versions, ["", "a"], versions))
    stored = [StoredState(stored_hash, version) for stored_hash, version, _, _ in cases]
    rows = [Row(f"{n:04}", sha, version, b"{}") for n, (_, _, sha, version) in enumerate(cases)]
    if await fetch(dsn, "SELECT FROM pg_collation WHERE collname = 'en-x-icu'"):
        await run(dsn, 'ALTER TABLE artists ALTER version TYPE text COLLATE "en-x-icu"')  # sorts a before Z
    await run(
        dsn,
        *(
            f"INSERT INTO artists (data_id, hash, data, version) VALUES ('{each.id}', '{state.hash}', '[]', "
            + ("NULL)" if state.version is None else f"'{state.version}')")
            for each, state in zip(rows, stored, strict=True)
        ),
    )

    async with Connections(settings(dsn).postgres, size=1) as connections, connections.transaction() as transaction:
        outcomes = await upsert(transaction, Statements.of("artists"), rows, by_id(rows, range(len(rows))))
        await transaction.commit()

    written = {each["data_id"] for each in await fetch(dsn, "SELECT data_id FROM artists WHERE data = '{}'")}
    for position, (each, state) in enumerate(zip(rows, stored, strict=True)):
        expected = decide(each, state)
        assert outcomes[position] is expected, (each, state)
        assert (each.id in written) == (expected.value == "changed"), (each, state)


async def test_the_look_up_never_scans_the_table_even_when_planned_while_it_is_small(dsn: str, sink: TableSink) -> None:
    await sink.write([row("1")])
    await run(dsn, "ANALYZE artists")
    look_up = Statements.of("artists").look_up

    async with Connections(settings(dsn).postgres, size=1) as connections, connections.transaction() as transaction:
        await transaction.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await transaction.execute(f"PREPARE look_up (text[]) AS {look_up}")
        plan = await transaction.fetch("EXPLAIN EXECUTE look_up('{1,2}')")

    assert "Seq Scan" not in "\n".join(line[0] for line in plan)
