"""What PostgreSQL really raises, row by row of the failure table, and what the sink makes of it."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from common.errors import BatchTooLarge, RecordsRefused, StoreUnavailable, WriteConflict
from common.outcomes import Outcomes
from tableinator.model import Row
from tableinator.sink import TableSink
from tableinator.store import open_store
from tests.integration.tables import RIGHTS, at, fetch, row, run, settings, wait_until_blocked

NUL = rb'{"name": "\u0000"}'


@pytest.fixture
async def sink(dsn: str) -> AsyncIterator[TableSink]:
    async with open_store(settings(dsn, command_timeout=4.0)) as store:
        yield store.sink("artists")


@pytest.fixture
async def other(dsn: str, sink: TableSink) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's connection to the same tables."""
    connection = await asyncpg.connect(dsn, timeout=10)
    yield connection
    await connection.close(timeout=30)


async def refused(sink: TableSink, rows: list[Row]) -> RecordsRefused:
    with pytest.raises(RecordsRefused) as caught:
        await sink.write(rows)
    return caught.value


async def unavailable(sink: TableSink, *rows: Row) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        await sink.write(rows)
    return caught.value


# Data: the record alone.


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (Row("5", "h", None, NUL), "22P05"),
        (Row("5", "h", None, rb'{"name": "\ud800"}'), "22P02"),
        (Row("5", "h", None, b'{"name": "\xff"}'), "22021"),
        (Row("5", "h", None, b'{"name": '), "22P02"),
        (Row("5", "h", None, b'{"name": 1e500000}'), "22003"),
        (Row("5", "h\0", None, b"{}"), "22021"),
        (Row("5" + "".join(chr(0x4E00 + n) for n in range(8000)), "h", None, b"{}"), "54000"),
    ],
)
async def test_a_bad_new_record_is_named(sink: TableSink, bad: Row, code: str) -> None:
    """Fault 25."""
    # The order of the batch is not the order in which rows are copied.
    error = await refused(sink, [row("9"), row("1"), bad, row("3"), row("7")])

    assert (error.positions, error.certain, error.refusal.code) == ((2,), True, code)


async def test_a_bad_new_record_is_named_among_others_that_are_not_new(sink: TableSink) -> None:
    await sink.write([row("1"), row("2")])

    error = await refused(sink, [row("1"), row("2", b'{"b": 2}'), row("4"), Row("3", "h", None, NUL)])

    assert error.positions == (3,)


async def test_a_bad_changed_record_is_data_without_a_name(sink: TableSink) -> None:
    await sink.write([row("1"), row("2")])

    error = await refused(sink, [row("1", b'{"b": 2}'), Row("2", "h", None, NUL)])

    assert (error.positions, error.certain, error.refusal.code) == (None, True, "22P05")


async def test_an_id_that_no_text_can_hold_is_data(sink: TableSink) -> None:
    error = await refused(sink, [row("1"), row("2\0")])

    assert (error.positions, error.certain, error.refusal.code) == (None, True, "22021")


async def test_an_id_that_can_not_be_encoded_is_data(sink: TableSink) -> None:
    error = await refused(sink, [row("1"), row("\ud800")])

    assert (error.positions, error.certain) == (None, True)
    assert await sink.write([row("1")]) == Outcomes(new=1)


async def test_a_hash_that_can_not_be_encoded_is_data(sink: TableSink) -> None:
    error = await refused(sink, [row("1"), row("2", sha="\ud800")])

    assert (error.positions, error.certain) == (None, True)
    assert await sink.write([row("1")]) == Outcomes(new=1)


async def test_a_constraint_of_somebody_elses_is_data(dsn: str, sink: TableSink) -> None:
    await run(dsn, "ALTER TABLE artists ADD CHECK (data_id <> '5')")

    error = await refused(sink, [row("1"), row("5"), row("3")])

    assert (error.positions, error.certain, error.refusal.code) == ((1,), True, "23514")


async def test_another_unique_index_makes_the_record_data_and_no_endless_race(dsn: str, sink: TableSink) -> None:
    await run(dsn, "CREATE UNIQUE INDEX ON artists (hash)")
    await sink.write([row("1", sha="same")])

    error = await refused(sink, [row("2", sha="same"), row("3")])

    assert (error.positions, error.certain, error.refusal.code) == (None, True, "23505")


async def test_what_a_trigger_raises_is_unknown(dsn: str, sink: TableSink) -> None:
    await run(
        dsn,
        "CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.data_id = '5' THEN RAISE 'not this one'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER complains BEFORE INSERT ON artists FOR EACH ROW EXECUTE FUNCTION complain()",
    )

    error = await refused(sink, [row("1"), row("5")])

    assert (error.certain, error.refusal.code) == (False, "P0001")
    assert "not this one" in error.refusal.text


async def test_a_refusal_costs_no_connection(dsn: str, sink: TableSink) -> None:
    sessions = """SELECT pid FROM pg_stat_activity
        WHERE application_name = 'tableinator' AND datname = current_database()"""
    await sink.write([row("1")])
    before = await fetch(dsn, sessions)

    await refused(sink, [Row("2", "h", None, NUL)])

    assert await fetch(dsn, sessions) == before


# Too large: fewer at once.


async def make_slow(dsn: str, seconds: float) -> None:
    await run(
        dsn,
        f"CREATE FUNCTION tarry() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$",
        "CREATE TRIGGER tarries BEFORE INSERT ON artists FOR EACH ROW EXECUTE FUNCTION tarry()",
    )


async def test_a_statement_over_its_time_is_too_large_and_alone_an_outage(dsn: str) -> None:
    """Fault 24."""
    async with open_store(settings(dsn, command_timeout=2.0)) as store:
        await make_slow(dsn, 2.5)

        with pytest.raises(BatchTooLarge) as together:
            await store.sink("artists").write([row("1"), row("2")])
        alone = await unavailable(store.sink("artists"), row("1"))

    assert together.value.refusal.code == "57014"
    assert alone.alarm is not None
    assert "POSTGRES_COMMAND_TIMEOUT" in alone.alarm


async def test_a_document_too_deep_for_the_server_is_too_large_and_alone_data(sink: TableSink) -> None:
    """Fault 25."""
    deep = Row("5", "h", None, b"[" * 100_000 + b"]" * 100_000)

    with pytest.raises(BatchTooLarge) as together:
        await sink.write([row("1"), deep])
    alone = await refused(sink, [deep])

    assert together.value.refusal.code == alone.refusal.code == "54001"
    assert alone.certain


# Retry: the same batch at once.


async def test_a_deadlock_is_a_conflict(sink: TableSink, other: asyncpg.Connection, dsn: str) -> None:
    await sink.write([row("1"), row("2")])
    async with asyncio.TaskGroup() as group:
        await other.execute("BEGIN")
        await other.execute("UPDATE artists SET version = '' WHERE data_id = '2'")
        write = group.create_task(_outcome(sink, [row("1", b"{}"), row("2", b"{}")]))
        await wait_until_blocked(dsn)
        # Who began to wait first looks for a deadlock first, and gives way: that is the sink.
        await other.execute("UPDATE artists SET version = '' WHERE data_id = '1'")
        await other.execute("ROLLBACK")

    assert isinstance(write.result(), WriteConflict)
    assert "40P01" in str(write.result())
    assert await sink.write([row("1", b"{}"), row("2", b"{}")]) == Outcomes(changed=2)


async def test_a_lock_that_is_not_had_in_time_is_a_conflict(
    sink: TableSink, other: asyncpg.Connection, dsn: str
) -> None:
    await sink.write([row("1")])
    await other.execute("BEGIN")
    await other.execute("UPDATE artists SET version = '' WHERE data_id = '1'")

    answer = await _outcome(sink, [row("1", b"{}")])
    await other.execute("ROLLBACK")

    assert isinstance(answer, WriteConflict)
    assert "55P03" in str(answer)


async def test_a_plan_that_went_stale_is_made_again(sink: TableSink, dsn: str) -> None:
    await sink.write([row("1")])
    await run(dsn, "ALTER TABLE artists ALTER hash TYPE varchar")

    answers = [await _outcome(sink, [row("2")]), await _outcome(sink, [row("3")])]

    assert all(isinstance(answer, WriteConflict | Outcomes) for answer in answers)
    assert answers[-1] == Outcomes(new=1)


async def _outcome(sink: TableSink, rows: list[Row]) -> object:
    try:
        return await sink.write(rows)
    except (WriteConflict, StoreUnavailable) as error:
        return error


# Outage: hold.


async def test_a_missing_table_is_an_outage_and_its_return_is_noticed(sink: TableSink, dsn: str) -> None:
    """Fault 24."""
    await run(dsn, "ALTER TABLE artists RENAME TO away")
    error = await unavailable(sink, row("1"), row("2"))
    await run(dsn, "ALTER TABLE away RENAME TO artists")

    assert error.alarm is not None
    assert "42P01" in error.alarm
    assert "artists" in error.alarm
    assert await sink.write([row("1"), row("2")]) == Outcomes(new=2)


async def test_a_table_that_was_dropped_and_made_again_is_written_to(sink: TableSink, dsn: str) -> None:
    await sink.write([row("1")])
    await run(dsn, "CREATE TABLE fresh (LIKE artists INCLUDING ALL)", "DROP TABLE artists")
    await unavailable(sink, row("1"))
    await run(dsn, "ALTER TABLE fresh RENAME TO artists")

    assert await sink.write([row("1"), row("2")]) == Outcomes(new=2)


@pytest.mark.parametrize(
    ("column", "type_"), [("data", "text"), ("data", "json"), ("hash", "bytea"), ("version", "integer")]
)
@pytest.mark.parametrize("batch", [1, 3])
async def test_a_column_of_another_type_is_an_outage_and_nothing_is_stored_in_it(
    sink: TableSink, dsn: str, column: str, type_: str, batch: int
) -> None:
    """Fault 27."""
    await sink.write([row("1")])
    await run(dsn, f"ALTER TABLE artists ALTER {column} TYPE {type_} USING NULLIF({column}::text, '')::{type_}")

    # A statement prepared before the change may fail as a conflict first.
    answers = [await _outcome(sink, [row(str(number)) for number in range(2, 2 + batch)]) for _ in range(3)]

    final = answers[-1]
    assert isinstance(final, StoreUnavailable)
    assert final.alarm is not None
    assert [stored["data_id"] for stored in await fetch(dsn, "SELECT data_id FROM artists")] == ["1"]


async def test_a_missing_column_is_an_outage(sink: TableSink, dsn: str) -> None:
    await run(dsn, "ALTER TABLE artists DROP COLUMN version")

    error = await unavailable(sink, row("1"))

    assert error.alarm is not None
    assert "42703" in error.alarm


async def test_a_read_only_server_is_an_outage(sink: TableSink, dsn: str) -> None:
    """Fault 24."""
    async with open_store(settings(f"{dsn}&default_transaction_read_only=on")) as store:
        read_only = store.sink("artists")
        errors = [await unavailable(read_only, row("1"))]
        with pytest.raises(StoreUnavailable) as probed:
            await read_only.probe(row("1"))
        errors.append(probed.value)

    for error in errors:
        assert error.alarm is not None
        assert "25006" in error.alarm


@pytest.fixture
async def login(dsn: str, sink: TableSink) -> AsyncIterator[str]:
    """A user of the tables, as `name:password`."""
    name = f"user_{secrets.token_hex(6)}"
    (schema,) = (each["s"] for each in await fetch(dsn, "SELECT current_schema() AS s"))
    await run(
        dsn,
        f"CREATE ROLE {name} LOGIN PASSWORD 'first'",
        f"GRANT USAGE ON SCHEMA {schema} TO {name}",
        *(f"GRANT {rights} TO {name}" for rights in RIGHTS),
    )
    yield f"{name}:first"
    await run(
        dsn,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'",
        f"DROP OWNED BY {name}",
        f"DROP ROLE {name}",
    )


async def test_a_privilege_taken_away_is_an_outage(dsn: str, login: str) -> None:
    """Fault 24."""
    async with open_store(settings(at(dsn, login=login))) as store:
        await run(dsn, f"REVOKE INSERT ON artists FROM {login.split(':')[0]}")

        error = await unavailable(store.sink("artists"), row("1"), row("2"))

    assert error.alarm is not None
    assert "42501" in error.alarm


async def test_no_connection_free_is_an_outage_without_alarm(dsn: str, login: str) -> None:
    async with open_store(settings(at(dsn, login=login))) as store:
        user = login.split(":")[0]
        await run(
            dsn,
            f"ALTER ROLE {user} CONNECTION LIMIT 0",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'",
        )
        await _outcome(store.sink("artists"), [row("1")])  # may still meet the ended connection

        error = await unavailable(store.sink("artists"), row("1"))

    assert "53300" in str(error)
    assert error.alarm is None


async def test_a_login_refused_while_running_is_an_outage_that_names_no_password(dsn: str, login: str) -> None:
    async with open_store(settings(at(dsn, login=login))) as store:
        user = login.split(":")[0]
        await run(
            dsn,
            f"ALTER ROLE {user} NOLOGIN",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'",
        )
        await _outcome(store.sink("artists"), [row("1")])  # may still meet the ended connection

        error = await unavailable(store.sink("artists"), row("1"))

    assert error.alarm is not None
    assert "28000" in error.alarm
    assert "first" not in f"{error}{error.alarm}"


@pytest.mark.parametrize("copying", [True, False])
async def test_an_ended_session_is_an_outage_and_the_next_write_succeeds(
    sink: TableSink, other: asyncpg.Connection, dsn: str, copying: bool
) -> None:
    """Fault 49."""
    if not copying:
        await sink.write([row("1")])
    await other.execute("BEGIN")
    await other.execute(
        "INSERT INTO artists (data_id, hash, data) VALUES ('1', '', '{}') ON CONFLICT (data_id) DO UPDATE SET hash = ''"
    )
    async with asyncio.TaskGroup() as group:
        write = group.create_task(_outcome(sink, [row("1", b"[]"), row("2")]))
        await wait_until_blocked(dsn)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'tableinator' AND datname = current_database() AND wait_event_type = 'Lock'"
        )
    await other.execute("ROLLBACK")

    error = write.result()
    assert isinstance(error, StoreUnavailable)
    assert error.alarm is None
    assert (await sink.write([row("1", b"[]"), row("2")])).written == 2
