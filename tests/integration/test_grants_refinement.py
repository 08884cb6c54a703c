"""The shipped grants for `spindle refine`: its work goes with them, with no privilege less, and nothing beyond."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from common.errors import SinkError, SpindleError
from common.kinds import KINDS
from tableinator.ops.ledger import record_event
from tableinator.ops.refinement.definitions import indexes
from tableinator.ops.refinement.indexes import make_indexes, plan_indexes
from tableinator.ops.refinement.refining import Refinement
from tableinator.ops.refinement.statements import SCHEMA
from tableinator.ops.refinement.surveying import find_dangling, findings, survey
from tableinator.settings import PostgresSettings
from tests.integration import tables
from tests.integration.test_grants_postgresql import REFUSALS, SHIPPED, Actions, cuts, granted, may
from tests.servers import grants, servers

ROLE = "refiner"


@asynccontextmanager
async def refining(server: servers.Postgres, cut: str = "", left: str = "") -> AsyncIterator[Actions]:
    """A database with records and the shipped grants; `left` stands in for the statement `cut`."""
    async with granted(server) as desk:
        await desk.write("setup")
        role, name = desk.logins.of(ROLE), urlsplit(desk.admin).path[1:]
        cut, left = (
            desk.logins.renamed_logins(each).replace("DATABASE spindle", f"DATABASE {name}") for each in (cut, left)
        )
        shipped = grants.refinement(desk.logins, name)
        statements = [left if each == cut else each for each in shipped]
        assert (statements != shipped) == bool(cut)
        try:
            await tables.run(desk.admin, "BEGIN", *filter(None, statements), "COMMIT")
            await tables.run(desk.admin, f"ALTER ROLE {role} PASSWORD '{grants.PASSWORD}'")
            yield desk
        finally:
            await tables.run(desk.admin, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def settings_of(desk: Actions) -> PostgresSettings:
    """The login's, without TLS, which costs a tenth of a second for every connection."""
    return tables.settings(tables.with_parameter(desk.dsn(ROLE), "sslmode=disable")).postgres


async def refine(desk: Actions) -> None:
    """Two months, the second of which changes every record, each with its event; and the next plan."""
    settings = settings_of(desk)
    for month in (1, 2):
        async with Refinement(settings, SCHEMA, workers=1, on_done=lambda *_: None) as work:
            await work.prepare()
            for kind in KINDS:
                done = await work.refine(kind)
                assert (done.new, done.changed, done.failed) == ((1, 0, 0) if month == 1 else (0, 1, 0))
                await record_event(settings, kind, "refine", "refined", rows=done.rows, seconds=1.0, detail={})
        await tables.run(
            desk.admin, *(f"UPDATE {kind} SET hash = 'after month {month}', data = '{{}}'" for kind in KINDS)
        )
    assert [each.changed for each in await survey(settings, SCHEMA, KINDS)] == [1] * len(KINDS)


async def test_the_login_that_refines_does_all_of_it_and_may_do_no_more(postgres: servers.Postgres) -> None:
    async with refining(postgres) as desk:
        await refine(desk)
        settings = settings_of(desk)
        planned = await plan_indexes(settings, SCHEMA, indexes())
        assert not await make_indexes(settings, SCHEMA, planned, lambda *_: None), "it may make no extension"
        assert await plan_indexes(settings, SCHEMA, indexes()) == []
        await find_dangling(settings, SCHEMA, lambda *_: None)
        await findings(settings, SCHEMA)

        beyond = [
            *("INSERT INTO artists VALUES ('2', '', '{}')", "UPDATE artists SET hash = ''", "DELETE FROM artists"),
            *("UPDATE spindle_events SET rows = 0", "DELETE FROM spindle_events", "SELECT FROM spindle_loads"),
            *(
                "CREATE TABLE public.mine ()",
                "CREATE TEMPORARY TABLE mine ()",
                "CREATE SCHEMA mine",
                "DROP TABLE artists",
            ),
        ]
        assert [each for each in beyond if await may(desk.dsn(ROLE), each)] == []
        others = [
            role for role in ("setup", "tableinator", "operator") if await may(desk.dsn(role), "TABLE discogs.artist")
        ]
        assert others == []


@pytest.mark.parametrize(("statement", "left"), list(cuts(grants.refinement(SHIPPED, "spindle"))))
async def test_no_statement_and_no_privilege_of_it_is_superfluous(
    postgres: servers.Postgres, statement: str, left: str
) -> None:
    with pytest.raises((SpindleError, SinkError, *REFUSALS)):
        async with refining(postgres, statement, left) as desk:
            await refine(desk)
