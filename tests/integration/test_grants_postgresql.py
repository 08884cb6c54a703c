"""PostgreSQL's shipped grants: each login does its work with them, with no privilege less, and nothing beyond."""

import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncpg
import pytest

from common.errors import SpindleError, StartRefused
from common.kinds import KINDS
from common.loads import Checked, State
from common.ops import checks
from common.outcomes import Outcomes
from tableinator.ops.doctor import check_tables
from tableinator.ops.ledger import read_errors, read_loads, read_pauses, record_check, set_pause
from tableinator.ops.newest_load import newest_load
from tableinator.ops.reader import count_rows
from tableinator.store import open_store
from tests.integration import tables
from tests.servers import grants, servers
from tests.servers.grants import Logins


@dataclass(frozen=True, slots=True)
class Actions:
    """A database with the shipped logins."""

    admin: str
    logins: Logins

    def dsn(self, role: str) -> str:
        """Where a role logs in."""
        parts = urlsplit(self.admin)
        login = f"{self.logins.of(role)}:{grants.PASSWORD}"
        return tables.at(self.admin, port=parts.port, host=parts.hostname or "", login=login)

    async def start(self, role: str) -> None:
        """What tableinator does when it starts."""
        async with open_store(tables.settings(self.dsn(role), kinds=KINDS)):
            pass

    async def write(self, role: str) -> None:
        """New records, then the same changed, in every table; a rewrite and a probe too; and errors, twice."""
        async with open_store(tables.settings(self.dsn(role), kinds=KINDS)) as store:
            for kind in KINDS:
                sink = store.sink(kind)
                new, changed = tables.row("1"), tables.row("1", b'{"a": 2}')
                assert await sink.write([new]) == Outcomes(new=1)
                assert await sink.write([changed]) == Outcomes(changed=1)
                assert await sink.rewrite(changed)
                await sink.probe(new)
                for _ in range(2):
                    sink.ledger.progress.count_error("20250201", "conflict", "40P01", at=datetime.now(UTC))
                    await sink.ledger.note()

    async def read(self) -> None:
        """What verify and a replay ask."""
        settings = tables.settings(self.dsn("operator")).postgres
        assert await count_rows(settings, KINDS) == dict.fromkeys(KINDS, 1)
        assert await newest_load(settings, KINDS) == "20250201"

    async def keep_the_book(self) -> None:
        """What check and pause write, and loads reads."""
        settings = tables.settings(self.dsn("operator")).postgres
        for _ in range(2):
            await record_check(settings, Checked(load="20250201", kind="artists", state=State.COMPLETE))
            await set_pause(settings, ["artists"], by="me", reason="", paused=True)
        states = {load.kind: load.state for load in await read_loads(settings)}
        assert states == dict.fromkeys(KINDS, State.RUNNING) | {"artists": State.COMPLETE}
        assert [pause.kind for pause in await read_pauses(settings)] == ["artists"]
        assert {met.kind: met.errors for met in await read_errors(settings)} == dict.fromkeys(KINDS, 2)


@asynccontextmanager
async def granted(
    server: servers.Postgres, cut: str = "", left: str = "", *, with_ledger: bool = True
) -> AsyncIterator[Actions]:
    """A database as of PostgreSQL 14, where everybody may do much, with the shipped grants, and the ledger made.

    `left` stands in for the statement `cut`.
    """
    logins = Logins(f"g{secrets.token_hex(4)}_")
    with servers.database_of_this_run(server) as database:
        name = urlsplit(database.dsn).path[1:]
        await tables.run(database.dsn, "GRANT ALL ON SCHEMA public TO PUBLIC")
        shipped = [grants.postgresql(logins, name), grants.ledger(logins) if with_ledger else []]
        cut, left = (
            logins.renamed_logins(each).replace("DATABASE spindle", f"DATABASE {name}") for each in (cut, left)
        )
        statements = [[left if each == cut else each for each in file] for file in shipped]
        assert (statements != shipped) == bool(cut)
        roles = [logins.of(role) for role in ("setup", "tableinator", "operator")]
        try:
            for file in statements:
                await tables.run(database.dsn, "BEGIN", *filter(None, file), "COMMIT")
            await tables.run(database.dsn, *(f"ALTER ROLE {role} PASSWORD '{grants.PASSWORD}'" for role in roles))
            yield Actions(database.dsn, logins)
        finally:
            await tables.run(database.dsn, *(f"DROP OWNED BY {role}" for role in roles))
            await tables.run(database.dsn, *(f"DROP ROLE {role}" for role in roles))


async def beyond(desk: Actions) -> list[str]:
    """What a login may do that it must not."""
    stranger = desk.logins.of("stranger")
    await tables.run(
        desk.admin,
        f"CREATE ROLE {stranger} LOGIN PASSWORD '{grants.PASSWORD}'",
        "CREATE TABLE private AS SELECT 1 AS a",
    )
    tried = {
        "setup": ["SELECT FROM private", "CREATE TEMPORARY TABLE mine ()", "CREATE SCHEMA mine", "CREATE ROLE mine"],
        "tableinator": [
            *("CREATE TABLE mine ()", "CREATE TEMPORARY TABLE mine ()", "CREATE SCHEMA mine", "SELECT FROM private"),
            *("DROP TABLE artists", "TRUNCATE artists", "DELETE FROM artists", "ALTER TABLE artists ADD b text"),
            *("CREATE TRIGGER mine BEFORE INSERT ON artists EXECUTE FUNCTION suppress_redundant_updates_trigger()",),
        ],
        "operator": [
            *("INSERT INTO artists VALUES ('2', '', '{}')", "UPDATE artists SET hash = ''", "DELETE FROM artists"),
            *("DELETE FROM spindle_loads", "INSERT INTO spindle_progress VALUES ('', '', '', 0)"),
            *("INSERT INTO spindle_errors VALUES ('', '', '', '')", "DELETE FROM spindle_errors"),
            *("CREATE TABLE mine ()", "CREATE TEMPORARY TABLE mine ()", "SELECT FROM private", "DROP TABLE artists"),
        ],
        "stranger": ["SELECT"],
    }
    try:
        return [f"{role}: {each}" for role, all_ in tried.items() for each in all_ if await may(desk.dsn(role), each)]
    finally:
        await tables.run(desk.admin, f"DROP OWNED BY {stranger}", f"DROP ROLE {stranger}")


async def may(dsn: str, statement: str) -> bool:
    """Whether a login may do this; it is undone."""
    try:
        await tables.run(dsn, "BEGIN", statement, "ROLLBACK")
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


# ---- as shipped ----


async def test_one_login_makes_the_tables_and_another_writes_them_and_no_login_may_do_more(
    postgres: servers.Postgres,
) -> None:
    async with granted(postgres) as desk:
        await desk.start("setup")
        await desk.write("tableinator")
        await desk.read()
        await desk.keep_the_book()

        assert await beyond(desk) == []


async def test_the_first_login_can_do_all_of_it_alone(postgres: servers.Postgres) -> None:
    async with granted(postgres) as desk:
        await desk.write("setup")
        await desk.read()


async def test_tables_that_another_login_has_made_take_the_grants_that_the_file_has_as_comments(
    postgres: servers.Postgres,
) -> None:
    async with granted(postgres, with_ledger=False) as desk:
        async with open_store(tables.settings(desk.admin, kinds=KINDS)):
            pass
        with pytest.raises(StartRefused, match=r"deploy/grants/postgresql\.sql"):
            await desk.start("tableinator")

        await tables.run(desk.admin, *grants.postgresql_of_made_tables(desk.logins))

        await desk.write("tableinator")
        await desk.read()
        await desk.keep_the_book()
        assert await beyond(desk) == []


async def test_doctor_names_the_shipped_file_until_the_tables_are_there(postgres: servers.Postgres) -> None:
    async def wrong(dsn: str) -> list[str]:
        found = await check_tables(tables.settings(dsn).postgres, KINDS, connections=1)
        return [check.sentence for check in found if check.state is not checks.State.OK]

    async with granted(postgres, with_ledger=False) as desk:
        first = await wrong(desk.dsn("setup"))
        [missing] = await wrong(desk.dsn("tableinator"))
        await desk.start("setup")
        later = await wrong(desk.dsn("tableinator"))
        lacking = await wrong(desk.dsn("operator"))

    assert (first, later) == ([], [])
    assert len(lacking) == len(KINDS) + 1  # and the ledger
    assert all("deploy/grants/postgresql.sql" in sentence for sentence in (missing, *lacking))


# ---- with one privilege less ----

REFUSALS = (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidSchemaNameError)
"""Of who makes the ledger; a schema that one may not use is none."""


def cuts(statements: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every statement, and every privilege of it, with what is left of the statement: nothing, or the others."""
    for statement in statements:
        if not re.match("GRANT|REVOKE|ALTER DEFAULT|CREATE SCHEMA", statement):
            continue
        privileges = re.search(r"GRANT ([A-Z, ]+) ON", statement)
        several = privileges[1].split(", ") if privileges else []
        if len(several) < 2:
            yield statement, ""
        else:
            for each in several:
                others = ", ".join(other for other in several if other != each)
                yield statement, statement.replace(", ".join(several), others)


SHIPPED = Logins(grants.SHIPPED)


@pytest.mark.parametrize(
    ("statement", "left"), list(cuts([*grants.postgresql(SHIPPED, "spindle"), *grants.ledger(SHIPPED)]))
)
async def test_no_statement_and_no_privilege_of_it_is_superfluous(
    postgres: servers.Postgres, statement: str, left: str
) -> None:
    try:
        async with granted(postgres, statement, left) as desk:
            await desk.start("setup")
            await desk.write("tableinator")
            await desk.read()
            await desk.keep_the_book()
            found = await beyond(desk)
    except (SpindleError, *REFUSALS):
        return
    assert found != []
