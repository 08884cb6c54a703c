"""Refining on a real server: what is written is what differs, whatever happens in between."""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from common.errors import SinkError, SpindleError, StartRefused
from common.kinds import KINDS
from extractor.loads import messages
from extractor.message import Message, to_message
from extractor.synthetic.synthetic import SyntheticLoad
from spindle.cli import main
from tableinator.ops.refinement import exclusion
from tableinator.ops.refinement import indexes as making
from tableinator.ops.refinement.definitions import TABLES, Index, indexes
from tableinator.ops.refinement.indexes import Planned, make_indexes, plan_indexes
from tableinator.ops.refinement.surveying import find_dangling, survey
from tests.e2e.services import ROOT
from tests.integration import tables
from tests.integration.refined import Site, site_of
from tests.servers.servers import Postgres

LOAD = SyntheticLoad(300, seed=7)
NEXT = SyntheticLoad(300, seed=7, month=1)

Content = dict[str, Counter[tuple[Any, ...]]]


@pytest.fixture
async def site(postgres: Postgres) -> AsyncIterator[Site]:
    """Raw tables, empty."""
    async with site_of(postgres.dsn) as site:
        yield site


async def content(site: Site) -> Content:
    """Every row of every refined table."""
    return await site.content([table.name for table in TABLES])


async def from_scratch(site: Site) -> Content:
    """What the raw rows come to if nothing was refined before."""
    other = Site(site.dsn, f"{site.schema}_anew")
    try:
        await other.refine()
        return await content(other)
    finally:
        await tables.run(site.dsn, f"DROP SCHEMA IF EXISTS {other.schema} CASCADE")


def release(number: int = 1, **fields: Any) -> Message:
    """A release with a title."""
    return to_message("releases", {"id": str(number), "title": "T", **fields})


async def place(site: Site, month: SyntheticLoad) -> None:
    """Have the raw tables hold just this load; of a later month without every twentieth record."""
    for kind in KINDS:
        found = [each for each in messages(month, kind) if not month.month or int(each.id) % 20]
        await site.store(kind, found, load=month.date)
        await tables.fetch(site.dsn, f"DELETE FROM {kind} WHERE data_id <> ALL($1)", [each.id for each in found])


async def test_the_next_month_writes_the_rows_that_differ_and_no_other(site: Site) -> None:
    await place(site, LOAD)
    await site.refine()
    before = await content(site)
    await place(site, NEXT)

    done = await site.refine()

    after = await content(site)
    inserted = sum((Counter(each.inserted) for each in done.values()), Counter[str]())
    deleted = sum((Counter(each.deleted) for each in done.values()), Counter[str]())
    assert inserted == Counter(
        {name: (after[name] - before[name]).total() for name in after if after[name] - before[name]}
    )
    assert deleted == Counter(
        {name: (before[name] - after[name]).total() for name in after if before[name] - after[name]}
    )
    assert sum(each.changed for each in done.values()) > 0 < sum(each.gone for each in done.values())
    assert after == await from_scratch(site)


async def test_what_has_not_changed_is_not_even_looked_at(site: Site) -> None:
    await site.load(LOAD)
    await site.refine()

    # Whoever looks sees a record that is another than it was.
    await site.run("UPDATE discogs.refine_record SET digest = md5('other')::uuid WHERE kind = 'labels' AND id = 1")

    again = await site.refine()
    compared = await site.refine(whole=True)

    assert [each.records for each in again.values()] == [0] * len(KINDS)
    assert {kind: each.records for kind, each in compared.items() if each.records} == {"labels": 1}


async def test_a_transaction_that_commits_late_is_not_missed(site: Site) -> None:
    await site.store("releases", [release(1), release(2)])
    late = await asyncpg.connect(site.dsn, timeout=10)
    try:
        transaction = late.transaction()
        await transaction.start()
        await late.execute(
            "UPDATE releases SET hash = 'other', data = data || '{\"title\": \"Late\"}' WHERE data_id = '1'"
        )
        await site.store("releases", [release(2, country="Malta")])
        await site.refine(["releases"])
        await transaction.commit()
    finally:
        await late.close(timeout=10)

    done = await site.refine(["releases"])

    assert done["releases"].changed == 1
    assert [row["title"] for row in await site.fetch("SELECT title FROM discogs.release WHERE id = 1")] == ["Late"]


async def test_a_kill_in_the_middle_and_a_rerun_end_equal(site: Site) -> None:
    await site.load(LOAD)
    async with site.work() as work:
        await work.prepare()
    await site.run(
        "CREATE FUNCTION discogs.wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END'",
        "CREATE TRIGGER wait BEFORE INSERT ON discogs.release FOR EACH ROW WHEN (NEW.id = 100) "
        "EXECUTE FUNCTION discogs.wait()",
    )
    gate = await asyncpg.connect(site.dsn, timeout=10)
    await gate.execute("SELECT pg_advisory_lock(4711)")
    options = ("--workers", "1", "--range", "20", "--schema", site.schema)
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spindle", "refine", *options), env={**os.environ, "POSTGRES_DSN": site.dsn}, cwd=ROOT
    )
    await tables.wait_until_blocked(site.dsn)
    killed.kill()
    await asyncio.wait_for(killed.wait(), 30)
    [left] = await site.fetch("SELECT count(*) FROM discogs.release")
    await gate.close(timeout=10)
    await site.run("DROP TRIGGER wait ON discogs.release")

    await site.refine()

    assert 0 < left["count"] < 100
    assert await content(site) == await from_scratch(site)


@pytest.mark.parametrize("forget", ["DELETE FROM discogs.refine_table WHERE name = 'artist_url'", "SELECT"])
async def test_a_table_that_an_upgrade_adds_and_one_that_was_dropped_are_filled(site: Site, forget: str) -> None:
    await site.load(SyntheticLoad(40, seed=7))
    await site.refine(["artists"])
    right = await content(site)
    await site.run("DROP TABLE discogs.artist_url", forget)

    done = await site.refine(["artists"])

    assert done["artists"].rebuilt == ["artist_url"]
    assert await content(site) == right


@pytest.mark.parametrize("only", [None, "artist_alias"])
async def test_ranges_of_a_run_before_an_upgrade_do_not_stand_in_the_way(site: Site, only: str | None) -> None:
    await site.load(SyntheticLoad(40, seed=7))
    await site.refine(["artists"])
    right = await content(site)
    await site.run("UPDATE discogs.refine_table SET version = 'older' WHERE name = 'artist_url'")
    await site.run("ALTER TABLE discogs.artist_url DROP COLUMN position", "DELETE FROM discogs.artist_alias")
    # What a kill leaves in the middle: of the records, or of a table that was being made again.
    await site.fetch("DELETE FROM discogs.refine_record WHERE id = 1")
    await site.run("DELETE FROM discogs.artist WHERE id = 1", "DELETE FROM discogs.artist_url WHERE artist_id = 1")
    await site.run("DELETE FROM discogs.artist_namevariation WHERE artist_id = 1")
    await site.run("DELETE FROM discogs.group_member WHERE group_artist_id = 1")
    await site.fetch(
        "INSERT INTO discogs.refine_range (kind, only_table, ids) SELECT 'artists', $1::text, array_agg(id) FROM "
        "(SELECT 1 UNION SELECT id FROM discogs.refine_record WHERE $1::text <> '' AND kind = 'artists') AS _ (id)",
        only,
    )

    done = await site.refine(["artists"], rebuild=[] if only else ["artist_alias"])

    assert set(done["artists"].rebuilt) == {"artist_url", "artist_alias"}
    assert await content(site) == right


async def test_a_range_that_takes_too_long_is_cut_until_it_can_be_done(site: Site) -> None:
    await site.store("releases", [release(number) for number in range(1, 17)])
    async with site.work() as work:
        await work.prepare()
    # As a large range does: more than four of it in one statement are too much.
    await site.run(
        "CREATE FUNCTION discogs.tire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF (SELECT count(*) FROM fresh) > 4 THEN RAISE EXCEPTION 'too long' USING ERRCODE = '57014'; END IF; "
        "RETURN NULL; END $$",
        "CREATE TRIGGER tire AFTER INSERT ON discogs.release REFERENCING NEW TABLE AS fresh "
        "FOR EACH STATEMENT EXECUTE FUNCTION discogs.tire()",
    )

    done = await site.refine(["releases"])

    assert (done["releases"].new, done["releases"].failed) == (16, 0)
    assert [row["count"] for row in await site.fetch("SELECT count(*) FROM discogs.release")] == [16]


async def test_ranges_that_are_left_are_cut_to_what_is_asked_for(site: Site) -> None:
    await site.store("releases", [release(number) for number in range(1, 8)])
    async with site.work(workers=1, per_range=3) as work:
        await work.prepare()
        await site.run(
            "INSERT INTO discogs.refine_range (kind, ids) VALUES ('releases', '{1,2,3,4,5,6,7}')",
        )
        await work.refine("releases")

    ranges = await site.fetch("SELECT xmin, count(*) FROM discogs.refine_record GROUP BY xmin ORDER BY 2")
    assert [row["count"] for row in ranges] == [1, 3, 3]


async def test_one_table_is_made_again_alone(site: Site) -> None:
    await site.load(LOAD)
    await site.refine()
    right = await content(site)
    await site.run(
        "UPDATE discogs.release_track SET title = 'wrong'", "DELETE FROM discogs.release_track WHERE sequence = 2"
    )

    done = await site.refine(["releases"], rebuild=["release_track"])

    assert await content(site) == right
    assert +done["releases"].inserted == Counter({"release_track": right["release_track"].total()})


async def test_a_table_of_another_definition_is_made_again_by_itself(site: Site) -> None:
    await site.load(LOAD)
    await site.refine()
    right = await content(site)
    await site.run(
        "UPDATE discogs.refine_table SET version = 'older' WHERE name = 'artist_url'",
        "ALTER TABLE discogs.artist_url DROP COLUMN position",
    )

    done = await site.refine(["artists"])

    assert done["artists"].rebuilt == ["artist_url"]
    assert await content(site) == right


@pytest.mark.parametrize("changed", [False, True])
async def test_who_may_read_a_table_still_may_when_it_is_made_again(site: Site, changed: bool) -> None:
    await site.load(SyntheticLoad(20, seed=7))
    await site.refine(["artists"])
    view = "CREATE VIEW discogs.seen AS SELECT artist_id, url FROM discogs.artist_url"
    await site.run("GRANT SELECT ON discogs.artist_url TO PUBLIC", *([] if changed else [view]))
    if changed:
        await site.run(
            "UPDATE discogs.refine_table SET version = 'older' WHERE name = 'artist_url'",
            "ALTER TABLE discogs.artist_url DROP COLUMN position",
        )

    await site.refine(["artists"], rebuild=["artist_url"])

    granted = await site.fetch(
        "SELECT privilege_type FROM information_schema.table_privileges WHERE table_schema = $1 "
        "AND table_name = 'artist_url' AND grantee = 'PUBLIC'",
        site.schema,
    )
    assert [row["privilege_type"] for row in granted] == ["SELECT"]


async def test_a_view_on_a_table_whose_columns_are_others_is_named(site: Site) -> None:
    await site.load(SyntheticLoad(20, seed=7))
    await site.refine(["artists"])
    await site.run(
        "UPDATE discogs.refine_table SET version = 'older' WHERE name = 'artist_url'",
        "ALTER TABLE discogs.artist_url DROP COLUMN position",
        "CREATE VIEW discogs.seen AS SELECT artist_id, url FROM discogs.artist_url",
    )

    with pytest.raises(StartRefused, match="seen"):
        await site.refine(["artists"])


async def test_a_record_that_cannot_be_refined_is_named_and_its_neighbours_are_there(site: Site) -> None:
    bad = release(3, labels=[{"id": "not a number", "name": "L"}])
    await site.store("releases", [release(1), release(2), bad, release(4)])

    done = await site.refine(["releases"])

    assert done["releases"].failed == 1
    assert [row["id"] for row in await site.fetch("SELECT id FROM discogs.release ORDER BY id")] == [1, 2, 4]
    [failure] = await site.fetch("SELECT * FROM discogs.refine_failure")
    assert (failure["data_id"], failure["sqlstate"]) == ("3", "22P02")

    await site.store("releases", [release(3, labels=[{"id": "5", "name": "L"}])], load="20260901")
    repaired = await site.refine(["releases"])

    assert (repaired["releases"].failed, await site.fetch("SELECT * FROM discogs.refine_failure")) == (0, [])
    assert [row["label_id"] for row in await site.fetch("SELECT label_id FROM discogs.release_label")] == [5]


async def test_a_record_that_can_no_longer_be_refined_leaves_no_old_rows(site: Site) -> None:
    await site.store("releases", [release(1, genres=["Rock"]), release(2)])
    await site.refine(["releases"])
    await site.store("releases", [release(1, master_id="x")], load="20260901")

    await site.refine(["releases"])

    assert await site.fetch("SELECT * FROM discogs.release_genre") == []
    assert [row["id"] for row in await site.fetch("SELECT id FROM discogs.release")] == [2]


async def test_a_record_that_failed_is_tried_again_by_another_version(site: Site) -> None:
    await site.store("releases", [release(1), release(2)])
    async with site.work() as work:
        await work.prepare()
    await site.run("ALTER TABLE discogs.release ADD CONSTRAINT low CHECK (id < 2)")
    failed = await site.refine(["releases"])
    await site.run(
        "ALTER TABLE discogs.release DROP CONSTRAINT low", "UPDATE discogs.refine_failure SET version = 'older'"
    )

    again = await site.refine(["releases"])

    assert (failed["releases"].failed, again["releases"].failed, again["releases"].new) == (1, 0, 1)
    assert [row["id"] for row in await site.fetch("SELECT id FROM discogs.release ORDER BY id")] == [1, 2]


async def test_if_every_record_fails_it_is_no_record_s_fault(site: Site) -> None:
    await site.store("releases", [release(number, master_id="x") for number in range(1, 31)])

    with pytest.raises(SpindleError, match="no record's fault"):
        await site.refine(["releases"])

    assert await site.fetch("SELECT * FROM discogs.refine_failure") == []


async def test_where_others_were_refined_a_range_of_bad_ones_is_named_and_it_goes_on(site: Site) -> None:
    await site.store("releases", [release(99)])
    await site.refine(["releases"])
    await site.store("releases", [release(number, master_id="x") for number in range(1, 31)])

    done = await site.refine(["releases"])

    assert done["releases"].failed == 30
    assert await site.fetch("SELECT * FROM discogs.refine_range") == []


async def test_an_id_that_no_table_can_hold_is_named(site: Site) -> None:
    await site.store(
        "labels", [to_message("labels", {"id": each, "name": "L"}) for each in ("1", "x7", "2147483648", "007")]
    )

    done = await site.refine(["labels"])

    assert (done["labels"].new, done["labels"].failed) == (1, 3)
    named = await site.fetch("SELECT data_id FROM discogs.refine_failure ORDER BY data_id")
    assert [row["data_id"] for row in named] == ["007", "2147483648", "x7"]


ODD = release(
    1,
    title="",
    released="1999-02-30",
    formats=[{"name": "File", "qty": f"1{'0' * 63}", "text": ""}, {"name": "CD", "qty": "some"}],
    artists=[{"id": "0", "name": "Nobody"}],
    tracklist={"track": [{"title": "A", "duration": "1:02:03"}, {"title": "B", "duration": "ca. 5"}]},
    master_id="0",
)


async def test_odd_values_are_kept_as_text_typed_where_they_can_be_and_found(site: Site) -> None:
    await site.store("releases", [ODD])
    await site.refine(["releases"])

    [row] = await site.fetch("SELECT title, released, released_year, released_date, master_id FROM discogs.release")
    assert tuple(row) == (None, "1999-02-30", 1999, None, None)
    quantities = await site.fetch("SELECT qty FROM discogs.release_format ORDER BY position")
    assert [each["qty"] for each in quantities] == [Decimal(10) ** 63, None]
    durations = await site.fetch("SELECT duration_seconds FROM discogs.release_track ORDER BY sequence")
    assert [each["duration_seconds"] for each in durations] == [3723, None]
    [credit] = await site.fetch("SELECT artist_id, artist_name FROM discogs.release_artist")
    assert tuple(credit) == (None, "Nobody")
    found = await site.fetch("SELECT finding, place, value FROM discogs.refine_finding ORDER BY finding")
    assert list(map(tuple, found)) == [
        ("empty title", "title", None),
        ("impossible date", "released", "1999-02-30"),
        ("unreadable duration", "release_track.duration", "ca. 5"),
        ("unreadable quantity", "release_format.qty", "some"),
    ]


async def test_findings_go_with_what_they_were_about(site: Site) -> None:
    await site.store("releases", [ODD])
    await site.refine(["releases"])
    await site.store("releases", [release(1, released="1999-00-00")], load="20260901")

    await site.refine(["releases"])

    assert await site.fetch("SELECT * FROM discogs.refine_finding") == []


async def test_what_dangles_is_found_on_request(site: Site) -> None:
    await site.store("releases", [release(1, artists=[{"id": "5", "name": "There"}, {"id": "6", "name": "Not there"}])])
    await site.store("artists", [to_message("artists", {"id": "5", "name": "There"})])
    await site.refine()

    for _ in range(2):
        found = await find_dangling(site.settings, site.schema, lambda *_: None)

    assert {name: count for name, count in found.items() if count} == {"release_artist.artist_id": 1}
    [row] = await site.fetch("SELECT kind, id, place, value FROM discogs.refine_finding WHERE finding = 'dangling'")
    assert tuple(row) == ("releases", 1, "release_artist.artist_id", "6")


async def test_a_bare_element_of_another_producer_counts_as_a_list_of_one(site: Site) -> None:
    bare = release(1, tracklist={"track": {"title": "Only", "position": "A"}}, videos={"video": {"@src": "v"}})
    named = to_message("artists", {"id": "1", "name": "A", "namevariations": {"name": "B"}, "urls": {"url": "u"}})
    await site.store("releases", [bare])
    await site.store("artists", [named])

    await site.refine()

    [track] = await site.fetch("SELECT title, sequence, position FROM discogs.release_track")
    assert tuple(track) == ("Only", 1, "A")
    [name] = await site.fetch("SELECT name FROM discogs.artist_namevariation")
    assert (name["name"], len(await site.fetch("SELECT FROM discogs.release_video"))) == ("B", 1)


async def test_a_release_follows_its_master_s_word_about_which_is_the_main_one(site: Site) -> None:
    def master(main: str) -> Message:
        return to_message("masters", {"id": "9", "title": "M", "main_release": main, "year": "1999"})

    async def mains() -> list[int | None]:
        return [row["main"] for row in await site.fetch("SELECT main FROM discogs.release ORDER BY id")]

    await site.store("releases", [release(1, master_id="9"), release(2, master_id="9"), release(3)])
    await site.refine()
    assert await mains() == [None, None, None]

    await site.store("masters", [master("1")])
    await site.refine()
    assert await mains() == [1, 0, None]

    await site.store("masters", [master("2")], load="20260901")
    done = await site.refine()
    assert (await mains(), done["masters"].inserted["release"]) == ([0, 1, None], 2)

    await tables.run(site.dsn, "DELETE FROM masters")
    await site.refine()
    assert await mains() == [None, None, None]


async def test_a_master_that_can_no_longer_be_refined_has_no_word(site: Site) -> None:
    master = {"id": "9", "title": "M", "main_release": "1", "year": "1999"}
    await site.store("releases", [release(1, master_id="9"), release(2, master_id="9")])
    await site.store("masters", [to_message("masters", master)])
    await site.refine()
    await site.store("masters", [to_message("masters", {**master, "main_release": "x"})], load="20260901")

    await site.refine()

    assert [row["main"] for row in await site.fetch("SELECT main FROM discogs.release")] == [None, None]


async def test_a_second_run_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusion, "_GRACE", 0.1)
    monkeypatch.setenv("POSTGRES_DSN", site.dsn)
    async with site.work() as first:
        await first.prepare()

        assert await asyncio.to_thread(main, ["refine", "--schema", site.schema]) == 2
        assert await asyncio.to_thread(main, ["refine", "--schema", site.schema, "--indexes"]) == 2

    assert await asyncio.to_thread(main, ["refine", "--schema", site.schema]) == 0


async def test_what_fails_on_the_way_is_no_refusal(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSTGRES_DSN", site.dsn)
    await site.store("releases", [release()])
    async with site.work() as work:
        await work.prepare()
    await site.run("ALTER TABLE discogs.release_genre RENAME COLUMN genre TO other")

    assert await asyncio.to_thread(main, ["refine", "--schema", site.schema]) == 1
    assert "run it again" in capsys.readouterr().err
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://nobody@127.0.0.1:1/none")
    assert await asyncio.to_thread(main, ["refine", "--schema", site.schema]) == 2


async def test_other_people_s_tables_are_left_alone(site: Site) -> None:
    await site.run(f"CREATE SCHEMA {site.schema}", "CREATE TABLE discogs.release (id integer)")

    with pytest.raises(StartRefused, match=r"somebody else's: release\."):
        await site.refine()

    left = await site.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", site.schema)
    assert [row["tablename"] for row in left] == ["release"]


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


async def test_the_command_plans_refines_and_tells_the_ledger(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_DSN", site.dsn)
    await site.store("releases", [release(number) for number in range(1, 4)])
    common = ["refine", "--schema", site.schema, "--json"]

    def run(*arguments: str) -> int:
        return main([*common, *arguments])

    assert await asyncio.to_thread(run, "--plan") == 0
    planned = {each["kind"]: each for each in said(capsys)}
    assert (planned["releases"]["new"], planned["artists"]["new"]) == (3, 0)
    assert await asyncio.to_thread(run, "--findings") == 0
    done = {each["kind"]: each for each in said(capsys)["kinds"]}
    assert (done["releases"]["new"], done["releases"]["inserted"]) == (3, {"release": 3})
    assert [each.new for each in await survey(site.settings, site.schema, KINDS)] == [0] * len(KINDS)
    [event] = await site.fetch("SELECT kind, event, rows FROM spindle_events WHERE phase = 'refine'")
    assert tuple(event) == ("releases", "refined", 3)

    await site.store("releases", [release(9, master_id="x")])
    assert await asyncio.to_thread(run) == 1
    assert [each["data_id"] for each in said(capsys)["failures"]] == ["9"]
    assert await asyncio.to_thread(main, common[:-1]) == 1
    assert "releases 9 was skipped: invalid input syntax" in capsys.readouterr().out
    for asked in (["--plan"], ["--plan", "--indexes"]):
        assert await asyncio.to_thread(main, [*common[:-1], *asked]) == 0
        assert "release" in capsys.readouterr().out
    assert await asyncio.to_thread(run, "--table", "release_genre") == 1
    assert {each["kind"] for each in said(capsys)["kinds"]} == {"releases"}


async def test_indexes_are_made_once_and_what_was_interrupted_is_made_again(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_DSN", site.dsn)
    await site.load(SyntheticLoad(60, seed=7))
    await site.refine()
    command = ["refine", "--schema", site.schema, "--indexes", "--json"]

    assert await asyncio.to_thread(main, [*command, "--plan"]) == 0
    planned = said(capsys)
    assert await asyncio.to_thread(main, command) == 0
    made = said(capsys)["indexes"]
    await site.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'discogs.release_idx_title'::regclass")
    assert await asyncio.to_thread(main, command) == 0

    assert made == [each["index"] for each in planned] == [index.name for index in indexes()]
    assert said(capsys)["indexes"] == ["release_idx_title"]
    assert await plan_indexes(site.settings, site.schema, indexes()) == []


async def test_an_index_that_cannot_be_made_is_an_error_like_others(site: Site) -> None:
    async with site.work() as work:
        await work.prepare()
    wrong = Planned(Index("wrong", "release", "btree", "(nothing)", bytes_per_row=1), 0, spoiled=False)

    with pytest.raises(SinkError, match="nothing"):
        await make_indexes(site.settings, site.schema, [wrong], lambda *_: None)


async def test_an_index_is_made_though_nobody_says_how_far_it_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "_PROGRESS", "SELECT pg_sleep(60), $1::integer")
    monkeypatch.setattr(making, "_ANSWERED", 0.1)
    async with site.work() as work:
        await work.prepare()
    holder = await asyncpg.connect(site.dsn, timeout=10)
    asked: asyncio.Task[bool] | None = None
    try:
        await holder.execute(f"BEGIN; LOCK TABLE {site.schema}.release IN ROW EXCLUSIVE MODE")
        planned = [each for each in await plan_indexes(site.settings, site.schema, indexes()) if not each.spoiled][:1]
        asked = asyncio.create_task(make_indexes(site.settings, site.schema, planned, lambda *_: None))
        await asyncio.wait([asked], timeout=1)
    finally:
        await holder.close(timeout=10)

    await asked
    assert planned[0] not in await plan_indexes(site.settings, site.schema, indexes())
