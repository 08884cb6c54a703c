"""Variables and files of the driver's libraries decide nothing: what is asked of PostgreSQL stands in our settings."""

import asyncio

import pytest

from common.errors import StartRefused
from common.outcomes import Outcomes
from tableinator.ops.reader import count_rows
from tableinator.place import place_of
from tableinator.store import open_store
from tests.integration.tables import row, settings, with_parameter


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOME", "/" + "unreadable" * 30),  # an error of a file that is not its absence, for root too
        ("SSLKEYLOGFILE", "/no/such/folder/keys"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLMODE", "odd"),
        ("PGSSLNEGOTIATION", "direct"),
        ("PGPASSFILE", "/no/such/file"),
        ("PGTARGETSESSIONATTRS", "standby"),
        ("PGGSSLIB", "odd"),
        ("PGSERVICE", "nowhere"),
        ("PGHOST", "nowhere.invalid"),
        ("PGPORT", "odd"),
        ("PGUSER", "nobody"),
        ("PGPASSWORD", "wrong"),
        ("PGDATABASE", "nowhere"),
    ],
)
async def test_an_environment_of_somebody_elses_changes_nothing(
    dsn: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    async with asyncio.timeout(60), open_store(settings(dsn)) as store:
        outcome = await store.sink("artists").write([row("1")])
        counts = await count_rows(settings(dsn).postgres, ["artists"])

    assert (outcome, counts) == (Outcomes(new=1), {"artists": 1})


@pytest.mark.parametrize(
    ("parameter", "named"),
    [
        ("passfile=/etc/passwords", "passfile is not read"),
        ("sslmode=perhaps", "sslmode is 'perhaps'"),
        ("target_session_attrs=standby", "target_session_attrs is 'standby'"),
        ("sslmode=verify-full&sslrootcert=/no/such/file", "'/no/such/file'"),
    ],
)
async def test_what_a_dsn_asks_for_and_can_not_have_is_refused_by_name(dsn: str, parameter: str, named: str) -> None:
    with pytest.raises(StartRefused) as refused:
        async with asyncio.timeout(60), open_store(settings(with_parameter(dsn, parameter))):
            pass

    assert named in str(refused.value)
    assert "POSTGRES_DSN" in str(refused.value) or "POSTGRES_TLS_CA_FILE" in str(refused.value)


@pytest.mark.parametrize(
    ("dsn", "hosts", "must_write"),
    [
        ("postgresql://u:p@one/db", (("one", 5432),), False),
        ("postgresql://u:p@one:1,two/db", (("one", 1), ("two", 5432)), True),
        ("postgresql://u:p@one,two:2/db?target_session_attrs=any", (("one", 5432), ("two", 2)), False),
        ("postgresql://u:p@[::1]:7/db", (("::1", 7),), False),
        ("postgresql://u:p@/db?host=%2Frun%2Fpg&port=6", (("/run/pg", 6),), False),
        ("postgresql://u:p@/db?host=one,two&port=6", (("one", 6), ("two", 6)), True),
        ("postgresql://u:p@one/db?target_session_attrs=primary", (("one", 5432),), True),
    ],
)
def test_a_dsn_says_where_the_servers_are(dsn: str, hosts: tuple[tuple[str, int], ...], must_write: bool) -> None:
    place = place_of(settings(dsn).postgres)

    assert (place.hosts, place.must_write) == (hosts, must_write)
    assert (place.user, place.password, place.database) == ("u", "p", "db")
