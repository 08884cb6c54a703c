"""A ledger that lacks parts, because an older version has made it, gets those, where it is, and nothing else."""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from common.errors import StartRefused
from common.kinds import KINDS
from common.ops.checks import Check, State
from graphinator.settings import Neo4jSettings
from spindle.ledger.stores import Ledgers
from tableinator import ledger
from tableinator.ops.doctor import check_tables
from tableinator.ops.ledger import read_pauses, set_pause
from tableinator.store import open_store
from tests.integration import tables
from tests.integration.test_grants_postgresql import granted
from tests.integration.test_tables_durability import another_role
from tests.servers import grants
from tests.servers.servers import Postgres

FORGET_ERRORS = ("DROP VIEW spindle_errors_by_load", "DROP TABLE spindle_errors")


@dataclass(frozen=True, slots=True)
class Behind:
    """An older ledger in `schema`, in which artists are paused, and `dsn`, which looks into `first` before it."""

    old: str
    schema: str
    first: str
    dsn: str


@pytest.fixture
async def behind(postgres: Postgres) -> AsyncIterator[Behind]:
    async with tables.own_schema(postgres.dsn) as old, tables.own_schema(postgres.dsn) as first:
        async with open_store(tables.settings(old)):
            pass
        await set_pause(tables.settings(old).postgres, ["artists"], by="me", reason="", paused=True)
        await tables.run(old, *FORGET_ERRORS)
        schema, before = (dsn.rpartition("search_path=")[2] for dsn in (old, first))
        yield Behind(old, schema, before, tables.with_parameter(postgres.dsn, f"search_path={before},{schema}"))


async def schemas(dsn: str, names: Sequence[str]) -> set[str]:
    """The schemas that tables and views of these names are in, of those that the DSN looks into."""
    rows = await tables.fetch(
        dsn,
        "SELECT DISTINCT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE relname = ANY($1) AND nspname = ANY(current_schemas(false))",
        names,
    )
    return {row["nspname"] for row in rows}


async def ledger_check(dsn: str) -> Check:
    found = await check_tables(tables.settings(dsn).postgres, ["artists"], connections=1)
    return next(check for check in found if check.name == "ledger")


async def test_what_an_older_ledger_lacks_is_made_beside_it_and_hides_nothing(behind: Behind) -> None:
    with capture_logs() as logs:
        async with open_store(tables.settings(behind.dsn)):
            pass

    [created] = [entry["tables"] for entry in logs if entry["event"] == "Ledger created"]
    assert created == "spindle_errors,spindle_errors_by_load"
    assert await schemas(behind.dsn, [*ledger.TABLES, *ledger.VIEWS]) == {behind.schema}
    assert [pause.kind for pause in await read_pauses(tables.settings(behind.dsn).postgres)] == ["artists"]
    assert await tables.fetch(behind.old, ledger.MISSING, [*ledger.TABLES, *ledger.VIEWS], ledger.FUNCTION) == []


async def test_doctor_tries_the_ledger_that_is_there_and_says_what_it_lacks(behind: Behind) -> None:
    found = await ledger_check(behind.dsn)
    assert found.state is State.OK
    assert "spindle_errors, spindle_errors_by_load don't exist yet" in found.sentence

    await tables.run(behind.old, "ALTER TABLE spindle_progress ADD CONSTRAINT never CHECK (kind = 'none')")
    found = await ledger_check(behind.dsn)
    assert found.state is State.FAILED and '"never"' in found.sentence


async def test_a_login_that_may_create_and_owns_nothing_makes_what_is_lacking(postgres: Postgres) -> None:
    async with tables.own_schema(postgres.dsn) as dsn:
        async with open_store(tables.settings(dsn)):
            pass
        schema = dsn.rpartition("search_path=")[2]
        async with another_role(dsn) as (name, theirs):
            await tables.run(dsn, *FORGET_ERRORS, f"GRANT CREATE ON SCHEMA {schema} TO {name}")
            assert (await ledger_check(theirs)).state is State.OK

            async with open_store(tables.settings(theirs)):
                pass

            assert (await ledger_check(theirs)).state is State.OK


async def test_a_login_that_may_not_create_is_told_what_is_lacking_and_where(behind: Behind) -> None:
    name = f"user_{secrets.token_hex(6)}"
    await tables.run(
        behind.old,
        f"CREATE ROLE {name} LOGIN PASSWORD 'word'",
        f"GRANT USAGE ON SCHEMA {behind.schema} TO {name}",
        f"GRANT ALL ON SCHEMA {behind.first} TO {name}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA {behind.schema} TO {name}",
    )
    try:
        with pytest.raises(StartRefused) as refused:
            async with open_store(tables.settings(tables.at(behind.dsn, login=f"{name}:word"))):
                pass
    finally:
        await tables.run(behind.old, f"DROP OWNED BY {name}", f"DROP ROLE {name}")

    assert str(refused.value).startswith("Parts of the ledger are missing in PostgreSQL")
    assert f"the ledger in schema {behind.schema} lacks spindle_errors, spindle_errors_by_load." in str(refused.value)


async def test_where_another_login_owns_the_ledger_the_new_table_takes_its_grants_and_loads_are_shown_without(
    postgres: Postgres,
) -> None:
    async with granted(postgres, with_ledger=False) as desk:
        async with open_store(tables.settings(desk.admin, kinds=KINDS)):
            pass
        grants_of_tables = grants.postgresql_of_made_tables(desk.logins)
        await tables.run(desk.admin, *grants_of_tables, *FORGET_ERRORS)
        async with open_store(tables.settings(desk.admin, kinds=KINDS)):
            pass
        postgresql = tables.settings(desk.dsn("operator")).postgres
        nowhere = Neo4jSettings(uri="bolt://127.0.0.1:1", connect_timeout=1)

        with pytest.raises(StartRefused, match="GRANT SELECT, INSERT, UPDATE ON spindle_errors TO CURRENT_USER"):
            await desk.start("tableinator")
        [before, _] = await Ledgers(postgresql, nowhere).read()
        await tables.run(desk.admin, *grants_of_tables)
        await desk.write("tableinator")
        [after, _] = await Ledgers(postgresql, nowhere).read()

    assert before.trouble == "" and before.errors is None and "spindle_errors" in before.trouble_of_errors
    assert {load.kind for load in after.loads} == set(KINDS)
    assert after.errors is not None and {met.kind for met in after.errors} == set(KINDS)
