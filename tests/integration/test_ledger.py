"""The ledger in both stores: made beside what is there, and written by the operator's commands."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from common.errors import StoreUnavailable
from common.kinds import KINDS
from common.loads import Checked, Load, Removed, State
from common.ops import checks
from graphinator import ledger as graph_ledger
from graphinator.ops import ledger as of_graph
from graphinator.ops.doctor import check_graph
from graphinator.schema import statement_of
from spindle.ledger.stores import Ledgers
from tableinator import ledger
from tableinator.ops import ledger as of_tables
from tableinator.ops.doctor import check_tables
from tableinator.store import open_store
from tableinator.tables import creation
from tests.integration import graphs, tables
from tests.integration.test_grants_postgresql import granted
from tests.servers import servers
from tests.servers.grants import FOLDER

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"

FOUND = Checked(
    load="20250201",
    kind="artists",
    state=State.INCOMPLETE,
    missing=3,
    different=2,
    dead=1,
    newer=4,
    gone=5,
    manifest="digest",
    published=100,
    skipped=2,
    file="discogs_20250201_artists.xml.gz",
    file_sha256="sum",
    seconds=1.5,
    reason="3 are missing",
)


@pytest.fixture
async def dsn(postgres: servers.Postgres) -> AsyncIterator[str]:
    async with tables.own_schema(postgres.dsn) as dsn, open_store(tables.settings(dsn)):
        yield dsn


def as_found(load: Load) -> Checked:
    """What a check found, as the ledger has it; but for the time, which it does not show."""
    return Checked(seconds=1.5, **{name: getattr(load, name) for name in Checked.__slots__ if name != "seconds"})


async def test_what_a_check_and_a_removal_found_is_read_back_from_the_tables(dsn: str) -> None:
    settings = tables.settings(dsn).postgres
    await of_tables.record_check(settings, FOUND)
    await of_tables.record_removal(settings, Removed(load="20250201", kind="artists", removed=5))
    clean = Checked(load="20250201", kind="artists", state=State.COMPLETE)
    await of_tables.record_check(settings, replace(clean, kind="labels"))

    artists, labels = await of_tables.read_loads(settings)

    assert (as_found(artists), artists.removed) == (FOUND, 5)
    assert (labels.state, labels.missing, labels.removed) == (State.COMPLETE, 0, None)
    events = await tables.fetch(dsn, "SELECT phase, event, rows FROM spindle_events ORDER BY at")
    assert [tuple(event) for event in events] == [
        ("check", "incomplete", 5),
        ("removal", "removed", 5),
        ("check", "complete", 0),
    ]

    await of_tables.record_check(settings, clean)

    [artists, _] = await of_tables.read_loads(settings)
    assert (artists.state, artists.missing, artists.reason) == (State.COMPLETE, 0, None)
    assert (artists.manifest, artists.published) == ("digest", 100)  # what the new check does not say stays known


async def test_what_a_check_and_a_removal_found_is_read_back_from_the_graph(empty_neo4j: servers.Neo4j) -> None:
    settings = graphs.settings(empty_neo4j).neo4j
    await of_graph.record_check(settings, FOUND)
    await of_graph.record_removal(settings, Removed(load="20250201", kind="artists", removed=5))
    await of_graph.record_check(settings, Checked(load="20250201", kind="labels", state=State.COMPLETE))

    artists, labels = await of_graph.read_loads(settings)

    assert (as_found(artists), artists.removed) == (FOUND, 5)
    assert (labels.state, labels.missing, labels.removed) == (State.COMPLETE, 0, None)


async def test_a_pause_is_written_and_ended_in_both_stores(dsn: str, empty_neo4j: servers.Neo4j) -> None:
    postgres, neo4j = tables.settings(dsn).postgres, graphs.settings(empty_neo4j).neo4j
    for paused, shown in ((True, [("artists", "me", "why"), ("labels", "me", "why")]), (False, [])):
        await of_tables.set_pause(postgres, ["labels", "artists"], by="me", reason="why", paused=paused)
        await of_graph.set_pause(neo4j, ["labels", "artists"], by="me", reason="why", paused=paused)

        for found in (await of_tables.read_pauses(postgres), await of_graph.read_pauses(neo4j)):
            assert [(pause.kind, pause.by, pause.reason) for pause in found] == shown
            assert all(pause.since.tzinfo for pause in found)


async def test_a_database_of_an_older_version_gets_its_ledger_and_loses_nothing(postgres: servers.Postgres) -> None:
    async with tables.own_schema(postgres.dsn) as dsn:
        await tables.run(dsn, creation("artists", lz4=False), "INSERT INTO artists VALUES ('1', 'hash', '{}', NULL)")

        async with open_store(tables.settings(dsn)) as store:
            assert (await store.sink("artists").write([tables.row("2")])).new == 1

        assert [row["data_id"] for row in await tables.fetch(dsn, "SELECT data_id FROM artists ORDER BY 1")] == [
            "1",
            "2",
        ]
        assert await tables.fetch(dsn, ledger.MISSING, [*ledger.TABLES, *ledger.VIEWS], ledger.FUNCTION) == []


async def test_a_table_of_the_ledger_that_is_gone_is_an_outage_and_no_fault_of_a_record(dsn: str) -> None:
    async with open_store(tables.settings(dsn)) as store:
        await tables.run(dsn, "ALTER TABLE spindle_progress RENAME TO elsewhere")

        with pytest.raises(StoreUnavailable) as raised:
            await store.sink("artists").write([tables.row("1")])

        assert raised.value.alarm is not None
        assert await tables.fetch(dsn, "SELECT FROM artists") == []
        await tables.run(dsn, "ALTER TABLE elsewhere RENAME TO spindle_progress")
        assert (await store.sink("artists").write([tables.row("1")])).new == 1


@pytest.mark.parametrize("raised", ["22012", "23514", "P0001", "57014"])
async def test_what_refuses_the_ledger_is_never_a_records_fault(dsn: str, raised: str) -> None:
    await tables.run(
        dsn,
        f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{raised}'; END $$""",
        "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON spindle_progress FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    async with open_store(tables.settings(dsn)) as store:
        sink = store.sink("artists")
        with pytest.raises(StoreUnavailable) as written:
            await sink.write([tables.row("1"), tables.row("2")])
        with pytest.raises(StoreUnavailable) as probed:
            await sink.probe(tables.row("1"))

    assert all("spindle_progress" in (found.value.alarm or "") for found in (written, probed))
    assert [found.value.code for found in (written, probed)] == [raised, raised]


async def test_a_constraint_that_refuses_the_graphs_ledger_is_never_a_records_fault(
    empty_neo4j: servers.Neo4j,
) -> None:
    async with graphs.opened(empty_neo4j) as store:
        await graphs.fetch(empty_neo4j, "CREATE (:SpindleProgress {kind: 'artists'})")
        await graphs.fetch(empty_neo4j, "CREATE CONSTRAINT strange FOR (n:SpindleProgress) REQUIRE n.kind IS UNIQUE")
        try:
            with pytest.raises(StoreUnavailable) as found:
                await store.sink("artists").write([graphs.record("artists", "1"), graphs.record("artists", "2")])
        finally:
            await graphs.fetch(empty_neo4j, "DROP CONSTRAINT strange")

    assert "SpindleProgress" in (found.value.alarm or "")


async def test_without_what_only_operators_read_a_login_of_few_rights_starts_all_the_same(
    postgres: servers.Postgres,
) -> None:
    async with granted(postgres) as desk:
        await desk.start("setup")
        await tables.run(desk.admin, "DROP FUNCTION spindle_as_of", "DROP VIEW spindle_failed")

        await desk.write("tableinator")
        sentences = [
            (check.state, check.sentence)
            for check in await check_tables(tables.settings(desk.dsn("tableinator")).postgres, KINDS, connections=1)
            if check.name == "ledger"
        ]

    assert [state for state, _ in sentences] == [checks.State.WARNING]
    assert "spindle_failed" in sentences[0][1]


async def test_the_ledger_is_left_out_of_what_doctor_counts(empty_neo4j: servers.Neo4j) -> None:
    settings = graphs.settings(empty_neo4j).neo4j
    async with graphs.opened(empty_neo4j):
        await graphs.fetch(empty_neo4j, "CREATE (:Artist {id: '1'}), (:SpindleErrors {key: 'one that a load met'})")
    await of_graph.record_check(settings, FOUND)
    await of_graph.set_pause(settings, ["labels"], by="me", reason="", paused=True)

    [size] = [check for check in await check_graph(settings, ["artists"]) if check.name == "size"]

    assert size.sentence == "The graph holds 1 nodes."


# What the document shows is what the views say of these rows. Loads and times are relative to now where a view is.
_BOOK = (
    """INSERT INTO spindle_loads (load, kind, announced_at, published, state, checked_at, missing, reason) VALUES
    ('20260201', 'artists', '2026-02-02 08:10', 19689, 'complete', '2026-02-02 09:00', 0, NULL),
    ('20260201', 'labels', '2026-02-02 08:10', 4000, 'complete', '2026-02-02 09:00', 0, NULL),
    ('20260301', 'artists', '2026-03-02 08:20', 20000, 'incomplete', now(), 3, '3 are missing')""",
    """INSERT INTO spindle_progress (load, kind, process, writer, began_at, at, batches, new, changed, unchanged) VALUES
    ('20260201', 'artists', 'host-1', 0, '2026-02-02 08:00', '2026-02-02 08:10', 40, 19689, 0, 0),
    ('20260201', 'labels', 'host-1', 0, '2026-02-02 08:00', '2026-02-02 08:10', 8, 4000, 0, 0),
    ('20260301', 'artists', 'host-1', 0, '2026-03-02 08:00', '2026-03-02 08:20', 40, 311, 987, 18702),
    ('20260301', 'labels', 'host-1', 0, now() - interval '40 minutes', now() - interval '40 minutes', 8, 0, 0, 4000)""",
    """INSERT INTO spindle_events (at, load, kind, phase, event) VALUES
    ('2026-02-02 08:10', '20260201', 'artists', 'load', 'announced'),
    ('2026-02-02 09:00', '20260201', 'artists', 'check', 'complete'),
    ('2026-02-02 08:10', '20260201', 'labels', 'load', 'announced'),
    ('2026-02-02 09:00', '20260201', 'labels', 'check', 'complete'),
    ('2026-03-02 08:20', '20260301', 'artists', 'load', 'announced')""",
    """INSERT INTO spindle_errors (load, kind, process, result, errors, last_error, first_at, last_at) VALUES
    ('20260301', 'artists', 'host-1', 'conflict', 2, 'DeadlockDetectedError 40P01', '2026-03-02 08:05',
        '2026-03-02 08:19'),
    ('20260301', 'artists', 'host-2', 'conflict', 1, 'LockNotAvailableError 55P03', '2026-03-02 08:06',
        '2026-03-02 08:06'),
    ('20260301', 'artists', 'host-1', 'refused', 1, 'UntranslatableCharacterError 22P05', '2026-03-02 08:07',
        '2026-03-02 08:07'),
    ('20260301', 'artists', 'host-1', 'dead_letter:refused', 1, 'UntranslatableCharacterError 22P05',
        '2026-03-02 08:07', '2026-03-02 08:07'),
    ('20260301', 'labels', 'host-1', 'unavailable', 14, 'ConnectionRefusedError', '2026-03-02 08:41',
        '2026-03-02 08:43')""",
)


async def test_the_documents_queries_say_what_the_document_shows(dsn: str) -> None:
    await tables.run(dsn, *_BOOK)

    shown = re.findall(r"```sql\n(SELECT .*?;)\n```\n```\n(.*?)```", OPERATING.read_text(), re.DOTALL)

    assert len(shown) == 7
    for query, output in shown:
        heads, *lines = [[cell.strip() for cell in line.split("|")] for line in output.strip().splitlines()]
        rows = await tables.fetch(dsn, query)
        for name in set(heads) - {"started", "first_at", "last_at"}:  # relative to now, or to the session's time zone
            place = heads.index(name)
            assert [_as_shown(row[name]) for row in rows] == [line[place] for line in lines], (query, name)


async def test_the_documents_query_of_the_graph_says_the_same_of_errors(empty_neo4j: servers.Neo4j) -> None:
    [query] = re.findall(r"```cypher\n(MATCH \(e:SpindleErrors.*?)\n```", OPERATING.read_text(), re.DOTALL)
    for process, errors, last_error, at in (
        ("host-1", 2, "DeadlockDetected", "2026-03-02T08:19:00Z"),
        ("host-2", 1, "LockClientStopped", "2026-03-02T08:06:00Z"),
    ):
        await graphs.fetch(
            empty_neo4j,
            "CREATE (:SpindleErrors {load: '20260301', kind: 'artists', result: 'conflict', process: $process,"
            " errors: $errors, last_error: $last_error, first_at: datetime($at), last_at: datetime($at)})",
            process=process,
            errors=errors,
            last_error=last_error,
            at=at,
        )

    [[kind, result, errors, last_error, last_at]] = await graphs.fetch(empty_neo4j, query)

    assert (kind, result, errors, last_error) == ("artists", "conflict", 3, "DeadlockDetected")
    assert last_at.iso_format().startswith("2026-03-02T08:19")


async def test_errors_are_read_of_both_stores_the_newest_load_first_then_by_kind_and_result(
    dsn: str, empty_neo4j: servers.Neo4j
) -> None:
    expected = [
        ("20260401", "labels", "refused"),
        ("20260301", "artists", "conflict"),
        ("20260301", "artists", "refused"),
        ("20260301", "labels", "conflict"),
    ]
    at = datetime(2026, 4, 2, tzinfo=UTC)
    for load, kind, result in sorted(expected, reverse=True):
        await tables.run(
            dsn,
            "INSERT INTO spindle_errors (load, kind, process, result, errors, last_error, first_at, last_at)"
            f" VALUES ('{load}', '{kind}', 'host-1', '{result}', 1, 'E', '{at}', '{at}')",
        )
        await graphs.fetch(
            empty_neo4j,
            "CREATE (:SpindleErrors {load: $load, kind: $kind, process: 'host-1', result: $result, errors: 1,"
            " last_error: 'E', first_at: $at, last_at: $at})",
            **{"load": load, "kind": kind, "result": result, "at": at},
        )

    books = await Ledgers(tables.settings(dsn).postgres, graphs.settings(empty_neo4j).neo4j).read()

    for book in books:
        assert [(met.load, met.kind, met.result) for met in book.errors or ()] == expected
        assert {type(met.last_at) for met in book.errors or ()} == {datetime}
        assert {met.first_at for met in book.errors or ()} == {at}


async def test_anothers_nodes_of_errors_are_left_out(empty_neo4j: servers.Neo4j) -> None:
    await graphs.fetch(
        empty_neo4j,
        "CREATE (:SpindleErrors {kind: 'artists'}), (:SpindleErrors {load: '20260301', kind: 'none', result: 'x'}),"
        " (:SpindleErrors {load: '20260301', kind: 'artists'}), (:SpindleErrors {kind: 'artists', result: 'x'})",
    )

    assert await of_graph.read_errors(graphs.settings(empty_neo4j).neo4j) == []


def _as_shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".") if value < 100 else f"{value:.0f}"
    return "" if value is None else str(value)


def test_the_shipped_statements_are_those_that_tableinator_runs() -> None:
    assert (FOLDER / "ledger.sql").read_text() == ledger.shipped(), (
        "python -m tableinator.ledger > deploy/grants/ledger.sql"
    )


def test_the_names_of_the_ledgers_constraints_are_its_own() -> None:
    assert all("Spindle" in statement_of(node) for node in graph_ledger.LEDGER)
