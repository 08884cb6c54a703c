"""`spindle load` with the real services: a month, the month after it, what was damaged in between, and what is gone."""

import asyncio
import gzip
import json
import os
import random
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from spindle.advice.report import Report, read_report
from tests.e2e.scene import Scene
from tests.integration import graphs
from tests.integration import tables as sql
from tests.servers.dump_site import CHECKSUM, DATE, KINDS, MONTH, published

FIRST, SECOND = "20260301", "20260401"
INTERRUPTIONS = int(os.environ.get("LOAD_INTERRUPTIONS", "4"))


def of(summary: dict[str, Any], name: str) -> dict[str, int]:
    """One number of each store."""
    return {part["store"]: part[name] for part in summary["parts"]}


def both(count: int) -> dict[str, int]:
    return {"postgresql": count, "neo4j": count}


async def test_a_month_and_the_next_one_are_loaded_repaired_and_cleaned(scene: Scene) -> None:
    artists = {number: f"Artist {number}" for number in range(1, 301)}
    first = scene.dump(FIRST, artists)

    planned = await scene.load(first, "--plan")
    assert planned[0] == 0
    assert [(part["new"], part["same"]) for part in planned[1]["plan"]] == [(300, 0), (300, 0)]
    assert await scene.tables.stored() == 0
    loaded = await scene.load(first)
    assert (loaded[0], loaded[1]["complete"], loaded[1]["rounds"]) == (0, True, 1), loaded
    assert (of(loaded[1], "written"), of(loaded[1], "successful")) == (both(300), both(300))

    # Running it again is the retry: what is there is not published, what is missing in one store goes there alone.
    again = await scene.load(first)
    assert (again[0], again[1]["rounds"], of(again[1], "written"), of(again[1], "unchanged")) == (
        *(0, 0, both(0)),
        both(300),
    ), again
    await graphs.fetch(scene.graph.server, "MATCH (n:Artist {id: '5'}) DETACH DELETE n")
    retried = await scene.load(first)
    assert (retried[0], of(retried[1], "written")) == (0, {"postgresql": 0, "neo4j": 1}), retried

    # The next month: one changed, one new, two gone. All changed is refused.
    changed = {each: name for each, name in artists.items() if each not in (7, 8)} | {9: "Another", 301: "New"}
    odd = await scene.load(scene.dump(SECOND, {each: f"{name} (reindented)" for each, name in artists.items()}))
    assert odd[0] == 2
    assert "100% of what is stored would change" in odd[1]["refused"][0]
    second = await scene.load(scene.dump(SECOND, changed), "--remove")
    assert second[0] == 0, second
    assert of(second[1], "written") == both(2)
    assert of(second[1], "removed") == both(2)
    rows = await sql.fetch(scene.tables.dsn, "SELECT data_id, version FROM artists")
    assert {int(row[0]) for row in rows} == set(changed)
    assert {int(row[0]) for row in rows if row[1] == SECOND} == {9, 301}
    assert {int(each) for each in await graphs.nodes(scene.graph.server, "Artist")} == set(changed)


def places(scene: Scene) -> dict[str, str]:
    """What tells where the services serve metrics."""
    return {f"STATUS_{service.upper()}": each.place for service, each in scene.running.items()}


async def test_in_waves_nothing_of_a_release_is_published_before_all_that_it_names_is_there(scene: Scene) -> None:
    scene.environ |= places(scene)

    done = await scene.spindle("load", "--synthetic", "400", "--seed", "3", "--waves", "--json")

    summary = json.loads(done.stdout)
    assert (done.returncode, summary["complete"]) == (0, True), done
    page = Path(scene.environ["SPINDLE_STATE"]) / f"{summary['load']}.report.html"
    report = read_report(page.with_suffix(".json"))
    assert (str(page) in done.stderr, summary["report"]) == (True, str(page))
    assert report["title"] == f"load {summary['load']}"
    assert sum(service["numbers"]["rate"] for service in report["services"].values()) > 0
    assert report["publishing"]["kind"] in KINDS
    events = await sql.fetch(scene.tables.dsn, "SELECT kind, at FROM spindle_events WHERE event = 'complete'")
    complete = dict(map(tuple, events))
    [[first]] = await sql.fetch(scene.tables.dsn, "SELECT min(began_at) FROM spindle_progress WHERE kind = 'releases'")
    assert complete.keys() == {"artists", "labels", "masters", "releases"}
    assert max(complete[kind] for kind in ("artists", "labels", "masters")) < first


async def test_a_kind_whose_process_is_killed_is_named_and_the_others_go_on_to_their_end(scene: Scene) -> None:
    scene.environ |= places(scene)
    made = ("--synthetic", "12000", "--seed", "3", "--kinds", "artists,labels")
    process = await scene.start("load", *made)
    while not await scene.tables.stored():
        assert process.returncode is None, scene.said.read_text()
        await asyncio.sleep(0.05)
    workers = {" ".join(each.cmdline()): each for each in psutil.Process(process.pid).children()}
    artists, *_ = [each for line, each in workers.items() if "spawn_main" in line]  # in the order of the kinds
    artists.kill()

    code = await asyncio.wait_for(process.wait(), 120)

    said = scene.said.read_text()
    assert code == 1, said
    assert "Not all of it was published: artists: its process was killed by SIGKILL" in " ".join(said.split())
    assert report_named_in(said)["title"].endswith(", failed")
    done = await scene.spindle("load", *made, "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["complete"]) == (0, True), done
    written = {(part["kind"], part["store"]): part["written"] for part in summary["parts"]}
    assert {store: written["labels", store] for store in both(0)} == both(0)
    assert written["artists", "postgresql"] > 0


async def test_a_load_that_is_interrupted_while_it_publishes_keeps_its_report(scene: Scene) -> None:
    scene.environ |= places(scene)
    process = await scene.start("load", "--synthetic", "12000", "--seed", "3", "--kinds", "artists,labels")
    while not await scene.tables.stored():
        assert process.returncode is None, scene.said.read_text()
        await asyncio.sleep(0.05)

    process.send_signal(signal.SIGINT)
    code = await asyncio.wait_for(process.wait(), 60)

    said = scene.said.read_text()
    report = report_named_in(said)
    assert (code, "Interrupted. What was published is safe" in said) == (130, True)
    assert report["title"].endswith(", interrupted")
    assert sum(service["numbers"]["rate"] for service in report["services"].values()) > 0
    assert report["publishing"]["rate"] > 0  # told by the processes that were ended


def report_named_in(said: str) -> Report:
    """The report that a load names on its screen."""
    [page] = [line.rpartition(": ")[2] for line in said.splitlines() if line.startswith("How it went")]
    return read_report(Path(page).with_suffix(".json"))


async def test_what_was_changed_behind_its_hash_only_verify_finds_and_without_the_hash_a_load_heals_it(
    scene: Scene,
) -> None:
    made = ("--synthetic", "400", "--seed", "3")
    verify, load = ("verify", *made, "--json"), ("load", *made, "--json")
    assert (await scene.spindle(*load)).returncode == 0
    rows, nodes = scene.tables.dsn, scene.graph.server
    await sql.run(rows, "UPDATE artists SET data = jsonb_set(data, '{name}', '\"X\"') WHERE data_id = '5'")
    await graphs.fetch(nodes, "MATCH (n:Artist {id: '12'}) SET n.name = 'X'")
    await graphs.fetch(nodes, "MATCH (:Release {id: '3'})-[e]->() DELETE e")
    assert ((await scene.spindle(*verify)).returncode, (await scene.spindle(*load)).returncode) == (1, 0)

    await sql.run(rows, "UPDATE artists SET hash = '' WHERE data_id = '5'")
    await graphs.fetch(nodes, "MATCH (n:Artist {id: '12'}) REMOVE n.hash")
    await graphs.fetch(nodes, "MATCH (n:Release {id: '3'}) REMOVE n.hash")
    healed = await scene.spindle(*load)

    written = {(part["kind"], part["store"]): part["written"] for part in json.loads(healed.stdout)["parts"]}
    assert {key: count for key, count in written.items() if count} == {
        ("artists", "postgresql"): 1,
        ("artists", "neo4j"): 1,
        ("releases", "neo4j"): 1,
    }
    verified = await scene.spindle(*verify)
    assert verified.returncode == 0, verified


async def test_a_month_goes_from_the_listing_to_the_summary_once_it_is_published(scene: Scene) -> None:
    artists = "".join(f"<artist><id>{number}</id><name>{number}</name></artist>" for number in (1, 2, 3))
    bodies = {
        kind: gzip.compress(f"<{kind}>{artists if kind == 'artists' else ''}</{kind}>".encode()) for kind in KINDS
    }
    folder = scene.folder / "fetched"
    scene.environ |= places(scene)
    with published(bodies) as site:
        scene.environ |= {"EXTRACTOR_FETCH_URL": site.url, "EXTRACTOR_FETCH_RESERVE": "0B"}
        sums = site.files.pop(CHECKSUM)
        early = await scene.load(folder, "--fetch", MONTH)
        site.files[CHECKSUM] = sums
        scene.environ |= {"EXTRACTOR_PARSERS": "2"}
        code, summary = await scene.load(folder, "--fetch", MONTH, "--kinds", "artists")

    assert (early[0], early[1]["fetch"]["state"], early[1]["fetch"]["missing"]) == (3, "not yet", [CHECKSUM])
    assert (code, summary["load"], summary["complete"]) == (0, DATE, True), summary
    assert of(summary, "successful") == both(3)
    report = read_report(Path(scene.environ["SPINDLE_STATE"]) / f"{DATE}.report.json")
    assert (report["publishing"]["kind"], report["publishing"]["parsers"]) == ("artists", 2)
    assert [file["state"] for file in summary["fetch"]["files"]] == ["complete"] * 4


async def test_a_plan_leaves_the_ledgers_as_they_are_and_removes_nothing(scene: Scene) -> None:
    folder = scene.dump(FIRST, {1: "A"})

    assert (await scene.load(folder, "--plan"))[0] == 0
    refused = await scene.spindle("load", str(folder), "--plan", "--remove")

    assert (refused.returncode, "--plan removes nothing" in refused.stderr) == (2, True)
    assert json.loads((await scene.spindle("loads", "--json")).stdout)["loads"] == []


async def test_records_that_a_service_holds_are_not_published_again(scene: Scene) -> None:
    """A service that is frozen has taken them, and no queue shows them."""
    folder = scene.dump(FIRST, {number: f"Artist {number}" for number in range(1, 101)})
    with scene.running[scene.graph.service].frozen():
        code, summary = await scene.load(folder, "--stalled", "15")

    assert (code, of(summary, "written"), summary["rounds"]) == (1, both(100), 1), summary
    assert sum(summary["held"].values()) == 102  # and two control messages
    assert (await scene.load(folder))[0] == 0


async def test_what_the_extractor_has_published_is_found_unchanged(scene: Scene) -> None:
    """Its manifest is used: one that was only read could not take its place."""
    made = ("--synthetic", "200", "--seed", "3", "--kinds", "artists,labels")
    published = await scene.run("extractor", *made)
    assert published.returncode == 0, published.stderr

    done = await scene.spindle("load", *made, "--json")

    summary = json.loads(done.stdout)
    assert (done.returncode, summary["complete"]) == (0, True), done


async def test_nothing_is_published_for_a_service_that_is_paused(scene: Scene) -> None:
    """It would wait in the queue for as long as nobody remembers the pause."""
    folder = scene.dump(FIRST, {1: "A"})
    paused = await scene.spindle("pause", "tableinator", "artists", "--by", "me", "--reason", "a backup")
    assert paused.returncode == 0, paused.stderr

    refused = await scene.spindle("load", str(folder))

    assert refused.returncode == 2, refused
    assert "tableinator's artists are paused since" in refused.stderr
    assert "by me (a backup). Let them go on with `spindle resume SERVICE KIND`" in refused.stderr
    assert await scene.graph.stored() == 0
    assert (await scene.spindle("resume", "tableinator", "artists")).returncode == 0
    assert (await scene.load(folder))[0] == 0


async def test_a_load_that_is_killed_takes_its_workers_along(scene: Scene) -> None:
    scene.environ["EXTRACTOR_MAX_BACKLOG"] = "10"
    folder = scene.dump(FIRST, {number: f"Artist {number}" for number in range(1, 2001)})
    with scene.running[scene.graph.service].frozen():
        process = await scene.start("load", str(folder))
        while not await scene.tables.stored():
            assert process.returncode is None, scene.said.read_text()
            await asyncio.sleep(0.05)
        workers = psutil.Process(process.pid).children()
        process.kill()
        await process.wait()

        assert workers
        await until_ended(workers)


async def until_ended(workers: Sequence[psutil.Process]) -> None:
    """Whoever has lost its parent may stay a zombie where nobody fetches its end."""
    async with asyncio.timeout(20):
        while any(map(_runs, workers)):
            await asyncio.sleep(0.1)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # it may end between two questions
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children()
    return []


async def test_however_often_it_is_interrupted_running_it_again_is_all_it_takes(scene: Scene) -> None:
    """By Ctrl-C, SIGTERM and kill -9, wherever it is: while it lists, compares, publishes, waits or checks."""
    folder = scene.dump(FIRST, {number: f"Artist {number}" for number in range(1, 4001)})
    rng, stored = random.Random(INTERRUPTIONS), [0]
    codes = []
    for number in range(INTERRUPTIONS):
        process = await scene.start("load", str(folder))
        ended = asyncio.ensure_future(process.wait())
        # From the command's start to the last check: a whole load takes some ten seconds here.
        await asyncio.wait([ended], timeout=rng.uniform(0.0, 8.0))
        workers = _children(process.pid)
        if not ended.done():
            process.send_signal((signal.SIGKILL, signal.SIGINT, signal.SIGTERM)[number % 3])
        codes.append(await asyncio.wait_for(ended, 60))
        await until_ended(workers)
        stored.append(await scene.tables.stored())

    assert set(codes) <= {-signal.SIGKILL, 130, 0}, (codes, scene.said.read_text())
    assert stored == sorted(stored)
    done = await scene.load(folder)
    assert (done[0], done[1]["complete"], of(done[1], "successful")) == (0, True, both(4000)), (codes, stored, done)
    again = await scene.load(folder)
    assert (again[0], again[1]["rounds"], of(again[1], "unchanged")) == (0, 0, both(4000)), again
