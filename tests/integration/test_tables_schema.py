"""Tableinator makes its tables, or says what keeps it from working with those it finds."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from common.errors import StartRefused
from common.outcomes import Outcomes
from tableinator import ledger
from tableinator.store import open_store
from tableinator.tables import creation
from tests.integration.tables import KINDS, RIGHTS, at, fetch, row, run, settings
from tests.servers.servers import Postgres

LEDGER = sorted(ledger.TABLES)


@pytest.fixture
async def weak(dsn: str) -> AsyncIterator[str]:
    """The same schema for a user who may use it and nothing more; gives that user's `name:password`."""
    name = f"weak_{secrets.token_hex(6)}"
    (schema,) = (each["s"] for each in await fetch(dsn, "SELECT current_schema() AS s"))
    await run(dsn, f"CREATE ROLE {name} LOGIN PASSWORD 'weak'", f"GRANT USAGE ON SCHEMA {schema} TO {name}")
    yield f"{name}:weak"
    await run(dsn, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def open_and_close(dsn: str, kinds: tuple[str, ...] = ("artists",)) -> None:
    async with open_store(settings(dsn, kinds=kinds)):
        pass


async def table_names(dsn: str) -> list[str]:
    tables = await fetch(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
    return [table["tablename"] for table in tables]


async def refusal(dsn: str) -> str:
    with pytest.raises(StartRefused) as refused:
        await open_and_close(dsn)
    return str(refused.value)


async def test_the_tables_of_the_kinds_asked_for_are_made(dsn: str) -> None:
    await open_and_close(dsn, ("artists", "masters"))

    assert await table_names(dsn) == ["artists", "masters", *LEDGER]


async def test_a_table_is_as_documented(dsn: str) -> None:
    await open_and_close(dsn)

    columns = await fetch(
        dsn,
        """SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = 'artists' ORDER BY ordinal_position""",
    )
    assert [tuple(column) for column in columns] == [
        ("data_id", "text", "NO", None),
        ("hash", "text", "NO", None),
        ("data", "jsonb", "NO", None),
        ("version", "text", "YES", None),
        ("updated_at", "timestamp with time zone", "NO", "now()"),
    ]


async def test_documents_are_compressed_with_lz4_where_the_server_has_it(dsn: str) -> None:
    (server,) = await fetch(
        dsn, "SELECT 'lz4' = ANY(enumvals) AS lz4 FROM pg_settings WHERE name = 'default_toast_compression'"
    )
    await open_and_close(dsn)

    (data,) = await fetch(
        dsn, "SELECT attcompression FROM pg_attribute WHERE attrelid = 'artists'::regclass AND attname = 'data'"
    )
    (table,) = await fetch(dsn, "SELECT reloptions FROM pg_class WHERE oid = 'artists'::regclass")
    expected = (b"l", None) if server["lz4"] else (b"\x00", ["toast_tuple_target=8160"])
    assert (data["attcompression"], table["reloptions"]) == expected


async def test_without_lz4_rows_stay_whole_up_to_a_page(dsn: str) -> None:
    await run(dsn, creation("artists", lz4=False))

    (table,) = await fetch(dsn, "SELECT reloptions FROM pg_class WHERE oid = 'artists'::regclass")
    assert table["reloptions"] == ["toast_tuple_target=8160"]
    async with open_store(settings(dsn)) as store:
        assert await store.sink("artists").write([row("1")]) == Outcomes(new=1)


async def test_eight_replicas_may_start_at_once(dsn: str) -> None:
    """Fault 58."""
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(open_and_close(dsn, KINDS))

    assert await table_names(dsn) == [*sorted(KINDS), *LEDGER]


async def test_tables_that_exist_are_left_as_they_are(dsn: str) -> None:
    await run(dsn, creation("artists", lz4=False), "ALTER TABLE artists ADD COLUMN note text DEFAULT 'theirs'")
    async with open_store(settings(dsn)) as store:
        await store.sink("artists").write([row("1")])

    await open_and_close(dsn)

    (stored,) = await fetch(dsn, "SELECT data_id, note FROM artists")
    assert tuple(stored) == ("1", "theirs")


async def test_tables_that_exist_need_no_privilege_to_create(dsn: str, weak: str) -> None:
    await open_and_close(dsn)
    await run(dsn, *(f"GRANT {rights} TO {weak.split(':')[0]}" for rights in RIGHTS))

    async with open_store(settings(at(dsn, login=weak))) as store:
        assert await store.sink("artists").write([row("1")]) == Outcomes(new=1)


async def test_without_the_privilege_to_create_the_statement_to_run_is_given(dsn: str, weak: str) -> None:
    sentence = await refusal(at(dsn, login=weak))

    statement = sentence.split("as one who may, run ")[1].split("; and grant")[0]
    await run(dsn, statement, f"GRANT SELECT, INSERT, UPDATE ON artists TO {weak.split(':')[0]}")
    assert "deploy/grants/ledger.sql" in await refusal(at(dsn, login=weak))
    await run(dsn, *ledger.CREATIONS.values(), *(f"GRANT {rights} TO {weak.split(':')[0]}" for rights in RIGHTS))
    await open_and_close(at(dsn, login=weak))


async def test_a_missing_privilege_on_the_ledger_is_named(dsn: str, weak: str) -> None:
    await open_and_close(dsn)
    await run(dsn, *(f"GRANT {rights} TO {weak.split(':')[0]}" for rights in RIGHTS[:2]))

    sentence = await refusal(at(dsn, login=weak))

    assert "GRANT INSERT ON spindle_events TO CURRENT_USER; GRANT SELECT ON spindle_pauses TO CURRENT_USER" in sentence


async def test_a_missing_privilege_on_a_table_is_named(dsn: str, weak: str) -> None:
    await open_and_close(dsn)
    await run(dsn, f"GRANT SELECT ON artists TO {weak.split(':')[0]}")

    assert "GRANT INSERT, UPDATE ON artists" in await refusal(at(dsn, login=weak))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE artists ALTER data TYPE json", "artists: column data is of type json, not jsonb"),
        ("ALTER TABLE artists ALTER data_id TYPE bigint USING 1", "artists: column data_id is of type bigint"),
        ("ALTER TABLE artists DROP COLUMN version", "artists: column version is missing"),
        ("ALTER TABLE artists DROP CONSTRAINT artists_pkey", "artists: data_id is not unique"),
        ("ALTER TABLE artists ADD COLUMN owner text NOT NULL", "artists: column owner is unknown"),
    ],
)
async def test_a_table_that_can_not_be_used_is_refused_by_name(dsn: str, change: str, named: str) -> None:
    await open_and_close(dsn)
    await run(dsn, change)

    assert named in await refusal(dsn)


async def test_the_statement_in_the_sentence_mends_the_table(dsn: str) -> None:
    await open_and_close(dsn)
    await run(dsn, "ALTER TABLE artists DROP COLUMN version", "ALTER TABLE artists DROP COLUMN updated_at")

    for problem in (await refusal(dsn)).removesuffix(".").split("artists: ")[1:]:
        await run(dsn, problem.split("; ")[1])

    await open_and_close(dsn)


async def test_a_unique_index_on_more_than_the_id_is_not_enough(dsn: str) -> None:
    await open_and_close(dsn)
    await run(
        dsn,
        "ALTER TABLE artists DROP CONSTRAINT artists_pkey",
        "CREATE UNIQUE INDEX ON artists (data_id, hash)",
        "CREATE UNIQUE INDEX ON artists (data_id) WHERE hash <> ''",
    )

    assert "artists: data_id is not unique" in await refusal(dsn)


async def test_what_is_no_ordinary_table_is_refused(dsn: str) -> None:
    await run(dsn, "CREATE VIEW artists AS SELECT 'a' AS data_id")

    assert "artists: artists is not an ordinary table" in await refusal(dsn)


async def test_a_search_path_without_a_schema_is_refused_with_a_sentence(postgres: Postgres) -> None:
    sentence = await refusal(f"{postgres.dsn}?search_path=nowhere_{secrets.token_hex(4)}")

    assert "schema" in sentence
