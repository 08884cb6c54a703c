"""What is acknowledged is stored, and stays stored: where a server would do it otherwise, it is made to, or refused."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest

from common.errors import StartRefused, StoreUnavailable
from common.ops.checks import Check, State
from common.outcomes import Outcomes
from tableinator.connections import Connections
from tableinator.ops.doctor import check_tables
from tableinator.sink import TableSink
from tableinator.store import open_store
from tests.integration.tables import RIGHTS, at, fetch, own_schema, row, run, settings, with_parameter
from tests.servers.native import OwnPostgres
from tests.servers.servers import Postgres, database_of_this_run


@pytest.fixture
async def sink(dsn: str) -> AsyncIterator[TableSink]:
    async with open_store(settings(dsn)) as store:
        yield store.sink("artists")


async def refusal(dsn: str) -> str:
    with pytest.raises(StartRefused) as refused:
        async with open_store(settings(dsn)):
            pass
    return str(refused.value)


async def wrong(dsn: str, kinds: Sequence[str] = ("artists",), connections: int = 1) -> dict[str, Check]:
    """What doctor finds, without what is in order, and without lz4, which not every build has."""
    checks = await check_tables(settings(dsn).postgres, kinds, connections=connections)
    return {check.name: check for check in checks if check.state is not State.OK and check.name != "compression"}


# Commits.


@pytest.mark.parametrize(("found", "used"), [("off", "on"), ("on", "on"), ("remote_apply", "remote_apply")])
async def test_a_commit_waits_for_the_disk_also_where_that_is_switched_off(dsn: str, found: str, used: str) -> None:
    """Fault 73."""
    postgres = settings(with_parameter(dsn, f"synchronous_commit={found}")).postgres
    async with Connections(postgres, size=1) as connections, connections.transaction() as transaction:
        [answer] = await transaction.fetch("SELECT current_setting('synchronous_commit')")

    assert answer[0] == used


async def test_what_was_acknowledged_outlives_a_kill_of_the_server(own_postgres: OwnPostgres) -> None:
    """Fault 73."""
    async with own_schema(own_postgres.dsn) as dsn:
        await run(own_postgres.dsn, "ALTER SYSTEM SET wal_writer_delay = '10s'", "SELECT pg_reload_conf()")
        await run(own_postgres.dsn, "ALTER ROLE CURRENT_USER SET synchronous_commit = 'off'")
        async with open_store(settings(dsn)) as store:
            for batch in range(10):
                await store.sink("artists").write([row(f"{batch}-{number}") for number in range(50)])

            await own_postgres.kill()
            await own_postgres.start()
        await run(own_postgres.dsn, "ALTER ROLE CURRENT_USER RESET synchronous_commit")
        await run(own_postgres.dsn, "ALTER SYSTEM RESET wal_writer_delay", "SELECT pg_reload_conf()")

        assert [tuple(each) for each in await fetch(dsn, "SELECT count(*) FROM artists")] == [(500,)]


async def test_doctor_names_a_server_without_fsync_and_a_role_without_commit(own_postgres: OwnPostgres) -> None:
    await run(own_postgres.dsn, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    try:
        async with asyncio.timeout(30):
            while (await fetch(own_postgres.dsn, "SHOW fsync"))[0][0] != "off":
                await asyncio.sleep(0.05)  # the server is another process, which tells nobody
        dsn = with_parameter(own_postgres.dsn, "synchronous_commit=off")

        checks = await check_tables(settings(dsn).postgres, ["artists"], connections=1)
    finally:
        await run(own_postgres.dsn, "ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()")

    found = {check.name: check for check in checks}
    assert found["durability"].state is State.WARNING and "fsync" in found["durability"].sentence
    assert found["commit"].state is State.OK and "sets it to on" in found["commit"].sentence


# Tables that forget, hide or drop rows.


async def test_an_unlogged_table_is_refused_and_the_sentence_mends_it(dsn: str, sink: TableSink) -> None:
    """Fault 73."""
    await run(dsn, "ALTER TABLE artists SET UNLOGGED")

    sentence = await refusal(dsn)
    found = await wrong(dsn)
    await run(dsn, sentence.removesuffix(".").split("; ")[1])

    assert found["tables"].state is State.FAILED and "SET LOGGED" in found["tables"].sentence
    assert await wrong(dsn) == {}


@asynccontextmanager
async def another_role(dsn: str) -> AsyncIterator[tuple[str, str]]:
    """A role that may write artists and does not own them: its name, and its way to the schema."""
    name = f"user_{secrets.token_hex(6)}"
    [[schema]] = await fetch(dsn, "SELECT current_schema()")
    await run(
        dsn,
        f"CREATE ROLE {name} LOGIN PASSWORD 'word'",
        f"GRANT USAGE ON SCHEMA {schema} TO {name}",
        *(f"GRANT {rights} TO {name}" for rights in RIGHTS),
    )
    try:
        yield name, at(dsn, login=f"{name}:word")
    finally:
        await run(dsn, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def restrict(dsn: str, role: str) -> None:
    """Switch row-level security on, with a policy for a role."""
    await run(
        dsn,
        "ALTER TABLE artists ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY everything ON artists TO {role} USING (true) WITH CHECK (true)",
    )


async def test_row_level_security_is_refused_for_whom_it_is_on(dsn: str, sink: TableSink) -> None:
    """Fault 73."""
    async with another_role(dsn) as (role, restricted):
        await restrict(dsn, role)
        sentence, found = await refusal(restricted), await wrong(restricted)
        free = await wrong(dsn)  # whose role is exempt

    assert "artists: row-level security" in sentence
    assert found["tables"].state is State.FAILED and "row-level security" in found["tables"].sentence
    assert free == {}


async def test_a_probe_takes_the_way_of_the_write(dsn: str, sink: TableSink) -> None:
    """Fault 73: an upsert would pass where COPY does not."""
    async with another_role(dsn) as (role, restricted), open_store(settings(restricted)) as store:
        await restrict(dsn, role)
        errors = []
        for attempt in (store.sink("artists").write([row("1")]), store.sink("artists").probe(row("1"))):
            with pytest.raises(StoreUnavailable) as caught:
                await attempt
            errors.append(caught.value.alarm)

    assert errors[0] == errors[1] is not None


async def test_a_table_with_a_rule_is_refused(dsn: str, sink: TableSink) -> None:
    """Fault 73."""
    await run(dsn, "CREATE RULE nothing AS ON INSERT TO artists DO INSTEAD NOTHING")

    assert "artists: it has rules" in await refusal(dsn)
    assert (await wrong(dsn))["tables"].state is State.FAILED


async def test_a_foreign_table_is_refused(postgres: Postgres) -> None:
    """Fault 73."""
    with database_of_this_run(postgres) as database:
        await run(
            database.dsn,
            "CREATE FOREIGN DATA WRAPPER nothing",
            "CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing",
            "CREATE FOREIGN TABLE artists (data_id text, hash text, data jsonb, version text) SERVER nowhere",
        )

        assert "artists: artists is not an ordinary table" in await refusal(database.dsn)
        assert (await wrong(database.dsn))["tables"].state is State.FAILED


def dropping(what: str, *, condition: str = "true") -> tuple[str, str]:
    """A trigger that drops rows."""
    return (
        "CREATE OR REPLACE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        f"CREATE TRIGGER swallows BEFORE {what} ON artists FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION swallow()",
    )


@pytest.mark.parametrize("what", ["INSERT", "UPDATE", "INSERT OR UPDATE"])
async def test_rows_that_a_trigger_drops_are_an_outage_with_an_alarm_and_doctor_says_so(
    dsn: str, sink: TableSink, what: str
) -> None:
    """Fault 73."""
    await sink.write([row("1")])
    await run(dsn, *dropping(what))

    with pytest.raises(StoreUnavailable) as dropped:
        await sink.write([row("1", b"[1]"), row("2")])
    found = await wrong(dsn)
    await run(dsn, "DROP TRIGGER swallows ON artists")

    assert dropped.value.alarm is not None and "triggers" in dropped.value.alarm
    assert found["rows"].state is State.FAILED and "trigger" in found["rows"].sentence
    assert await sink.write([row("1", b"[1]"), row("2")]) == Outcomes(new=1, changed=1)


async def test_one_row_that_a_trigger_drops_keeps_its_whole_batch(dsn: str, sink: TableSink) -> None:
    """Fault 73."""
    await run(dsn, *dropping("INSERT", condition="NEW.data_id = '2'"))

    with pytest.raises(StoreUnavailable, match="1 of 3 rows"):
        await sink.write([row("1"), row("2"), row("3")])

    assert await fetch(dsn, "SELECT FROM artists") == []


async def test_a_probe_that_a_trigger_drops_is_no_proof(dsn: str, sink: TableSink) -> None:
    await run(dsn, *dropping("INSERT"))

    with pytest.raises(StoreUnavailable):
        await sink.probe(row("1"))


async def test_doctor_finds_rows_that_vanish_after_they_were_counted(dsn: str, sink: TableSink) -> None:
    await run(
        dsn,
        "CREATE FUNCTION remove() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM artists; RETURN NULL; END'",
        "CREATE TRIGGER removes AFTER INSERT ON artists FOR EACH ROW EXECUTE FUNCTION remove()",
    )

    assert (await wrong(dsn))["rows"].state is State.FAILED


async def test_doctor_sees_what_a_trigger_would_say_at_the_commit(dsn: str, sink: TableSink) -> None:
    await run(
        dsn,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not here'; END $$",
        "CREATE CONSTRAINT TRIGGER refuses AFTER INSERT ON artists DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()",
        "CREATE CONSTRAINT TRIGGER refuses AFTER INSERT ON spindle_progress DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()",
    )

    found = await wrong(dsn)

    assert {name: check.state for name, check in found.items()} == {"rows": State.FAILED, "ledger": State.FAILED}
    assert all("not here" in check.sentence for check in found.values())


@pytest.mark.parametrize("column", ["data", "hash", "version"])
@pytest.mark.parametrize("what", ["INSERT", "UPDATE"])
async def test_doctor_sees_a_trigger_that_changes_what_is_written(
    dsn: str, sink: TableSink, what: str, column: str
) -> None:
    other = {"data": "NEW.data - 'name'", "hash": "upper(NEW.hash)", "version": "NULL"}[column]
    await run(
        dsn,
        "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql "
        f"AS $$ BEGIN NEW.{column} := {other}; RETURN NEW; END $$",
        f"CREATE TRIGGER changes BEFORE {what} ON artists FOR EACH ROW EXECUTE FUNCTION change()",
    )

    found = await wrong(dsn)

    assert found["rows"].state is State.FAILED and f"({column} changed)" in found["rows"].sentence


# The ledger, without which no batch is stored.


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "ALTER TABLE spindle_progress SET UNLOGGED",
            "spindle_progress: a crash of the server empties spindle_progress",
        ),
        (
            "ALTER TABLE spindle_errors RENAME last_at TO old",
            "spindle_errors: column last_at is missing; ALTER TABLE spindle_errors ADD COLUMN last_at timestamptz",
        ),
        ("CREATE RULE nothing AS ON INSERT TO spindle_loads DO INSTEAD NOTHING", "spindle_loads: it has rules"),
        (
            "ALTER TABLE spindle_progress RENAME stale TO old",
            "spindle_progress: column stale is missing; ALTER TABLE spindle_progress ADD COLUMN stale bigint",
        ),
    ],
)
async def test_a_ledger_that_does_not_keep_what_is_written_is_refused(
    dsn: str, sink: TableSink, statement: str, problem: str
) -> None:
    """Fault 73."""
    await run(dsn, statement)

    sentence, found = await refusal(dsn), await wrong(dsn)

    assert f"the ledger: {problem}" in sentence
    assert found["tables"].state is State.FAILED and problem in found["tables"].sentence


async def test_row_level_security_on_the_ledger_is_refused_for_whom_it_is_on(dsn: str, sink: TableSink) -> None:
    """Fault 73."""
    async with another_role(dsn) as (_, restricted):
        await run(dsn, "ALTER TABLE spindle_progress ENABLE ROW LEVEL SECURITY")
        sentence, found = await refusal(restricted), await wrong(restricted)
        free = await wrong(dsn)  # whose role is exempt

    assert "spindle_progress: row-level security" in sentence
    assert found["tables"].state is State.FAILED and "spindle_progress" in found["tables"].sentence
    assert free == {}


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("ALTER TABLE spindle_progress ADD CONSTRAINT never CHECK (kind = 'none')", '"never"'),
        ("ALTER TABLE spindle_progress ADD COLUMN needed text NOT NULL", '"needed"'),
        ("ALTER TABLE spindle_loads DROP CONSTRAINT spindle_loads_pkey", "ON CONFLICT"),
        ("ALTER TABLE spindle_events ADD CONSTRAINT never CHECK (phase <> 'load')", "spindle_events"),
        ("ALTER TABLE spindle_errors ADD CONSTRAINT never CHECK (kind = 'none')", "spindle_errors"),
    ],
)
async def test_doctor_writes_the_ledger_as_each_batch_does(
    dsn: str, sink: TableSink, statement: str, problem: str
) -> None:
    await run(dsn, statement)

    found = await wrong(dsn)

    assert list(found) == ["ledger"]
    assert found["ledger"].state is State.FAILED and problem in found["ledger"].sentence
    assert await fetch(dsn, "SELECT load FROM spindle_progress UNION SELECT load FROM spindle_loads") == []


# Encodings.


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_of_another_encoding_is_refused(postgres: Postgres, encoding: str) -> None:
    """Fault 78."""
    name = f"test_{secrets.token_hex(4)}"
    await run(postgres.dsn, f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        dsn = postgres.dsn.rpartition("/")[0] + f"/{name}"
        sentence, found = await refusal(dsn), await wrong(dsn)
    finally:
        await run(postgres.dsn, f"DROP DATABASE {name} WITH (FORCE)")

    assert f"its encoding is {encoding}" in sentence and "UTF8" in sentence
    assert found["encoding"].state is State.FAILED and encoding in found["encoding"].sentence


# Connections.


async def test_doctor_knows_the_limits_of_role_and_database(postgres: Postgres) -> None:
    with database_of_this_run(postgres) as database:
        name = f"user_{secrets.token_hex(6)}"
        [[own]] = await fetch(database.dsn, "SELECT current_database()")
        await run(
            database.dsn,
            f"CREATE ROLE {name} LOGIN PASSWORD 'word' CONNECTION LIMIT 4",
            f"GRANT CREATE ON SCHEMA public TO {name}",
        )
        dsn = at(database.dsn, login=f"{name}:word")
        try:
            enough = await wrong(dsn, connections=4)
            by_role = await wrong(dsn, connections=8)
            await run(
                database.dsn, f"ALTER ROLE {name} CONNECTION LIMIT -1", f"ALTER DATABASE {own} CONNECTION LIMIT 5"
            )
            by_database = await wrong(dsn, connections=8)
            other = await asyncpg.connect(database.dsn, timeout=10)
            taken = await wrong(dsn, connections=5)
            await other.close(timeout=10)
        finally:
            await run(database.dsn, f"DROP OWNED BY {name}", f"DROP ROLE {name}")

    assert enough == {}
    assert by_role["connections"].state is State.FAILED and "role allows 4" in by_role["connections"].sentence
    assert (
        by_database["connections"].state is State.FAILED and "database allows 5" in by_database["connections"].sentence
    )
    assert taken["connections"].state is State.WARNING and "4 are free" in taken["connections"].sentence


async def test_doctor_needs_one_connection_and_names_the_limit_that_leaves_none(postgres: Postgres) -> None:
    with database_of_this_run(postgres) as database:
        name = f"user_{secrets.token_hex(6)}"
        await run(
            database.dsn,
            f"CREATE ROLE {name} LOGIN PASSWORD 'word' CONNECTION LIMIT 1",
            f"GRANT CREATE ON SCHEMA public TO {name}",
        )
        dsn = at(database.dsn, login=f"{name}:word")
        try:
            one = await wrong(dsn, connections=8)
            # Two, because the server may still be ending doctor's own.
            await run(database.dsn, f"ALTER ROLE {name} CONNECTION LIMIT 2")
            other = await asyncpg.connect(dsn, timeout=10)
            await run(database.dsn, f"ALTER ROLE {name} CONNECTION LIMIT 1")
            none = await wrong(dsn, connections=8)
            await other.close(timeout=10)
        finally:
            await run(database.dsn, f"DROP OWNED BY {name}", f"DROP ROLE {name}")

    assert list(one) == ["connections"] and "role allows 1" in one["connections"].sentence
    assert list(none) == ["login"] and "CONNECTION LIMIT" in none["login"].sentence
    assert "POSTGRES_HOST" not in none["login"].sentence
