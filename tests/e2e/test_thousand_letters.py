"""A thousand dead letters of five reasons, worked off with the commands that an operator has."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.kinds import Service
from tests.e2e.broker import Broker
from tests.e2e.services import Running, Services
from tests.e2e.sides import Graph, Tables
from tests.e2e.thousand_letters import (
    CAUSES,
    KINDS,
    LETTERS,
    MENDED,
    NEVER,
    SETTINGS,
    Actions,
    expected_ids,
    ids,
    mend,
    messages,
    publish,
    spoil,
)
from tests.integration import graphs, tables

BEFORE_THE_KILL = 30
RATE = "100"  # letters a second: a replay of a thousand takes ten seconds, and a kill hits its middle


@dataclass(slots=True)
class Office:
    """Two services, a thousand letters of theirs, and the desk."""

    desk: Actions
    broker: Broker
    tables: Tables
    graph: Graph
    services: Services
    running: dict[Service, Running]

    async def start(self, settings: Mapping[Service, Mapping[str, str]]) -> None:
        """Have both services with these settings, started again."""
        for running in self.running.values():
            assert (await running.stop())[0] == 0
        shared = self.broker.environment | SETTINGS
        async with asyncio.TaskGroup() as group:
            starts = [
                group.create_task(
                    self.services.start(side.service, {**shared, **side.environment, **settings[side.service]})
                )
                for side in (self.tables, self.graph)
            ]
        self.running = {start.result().service: start.result() for start in starts}

    async def until_drained(self) -> None:
        """Wait until both have nothing left."""
        for running in self.running.values():
            await self.broker.until_drained(running)

    def outcomes(self) -> Counter[str]:
        """What has become of the records since the services began."""
        return sum((running.metrics().outcomes() for running in self.running.values()), Counter())

    async def stored(self, service: Service, kind: str) -> list[str]:
        """The ids that a store holds, each as often as it does."""
        if service is Service.TABLEINATOR:
            return [row[0] for row in await tables.fetch(self.tables.dsn, f"SELECT data_id FROM {kind}")]
        label = kind.removesuffix("s").capitalize()
        statement = f"MATCH (n:{label}) WHERE n.hash IS NOT NULL RETURN n.id"
        return [row[0] for row in await graphs.fetch(self.graph.server, statement)]

    async def assert_all_stored(self) -> None:
        """Both stores hold all that can be stored, once, and nothing else."""
        for service in Service:
            for kind in KINDS:
                assert Counter(await self.stored(service, kind)) == Counter(expected_ids(service, kind)), (
                    service,
                    kind,
                )

    async def dead(self) -> int:
        """How many letters there are, as the broker counts them."""
        return sum([await self.broker.dead_letters(service) for service in Service])


@pytest.fixture
async def office(broker: Broker, tables: Tables, graph: Graph, services: Services) -> AsyncIterator[Office]:
    """Real services have refused what they can't take; everything else is stored."""
    desk = Actions(broker.environment | tables.environment | graph.environment)
    office = Office(desk, broker, tables, graph, services, {})
    for service in Service:
        await broker.declare(service)
    await office.start(CAUSES)
    try:
        await spoil(tables, graph)
        await publish(broker, messages())
        await office.until_drained()
        yield office
    finally:
        await mend(tables, graph)


async def test_a_thousand_letters_are_counted_filtered_replayed_once_mended_and_dropped(
    office: Office, tmp_path: Path
) -> None:
    desk, stored = office.desk, office.outcomes()

    # Look: every filter, and nothing moves.
    assert await desk.groups() == LETTERS
    for filters, count in {
        ("--service", "graphinator"): 500,
        ("--kind", "artists"): 400,
        ("--reason", "refused"): 300,
        ("--reason", "refused", "--reason", "too_large", "--service", "tableinator"): 300,
        ("--error-class", "CheckViolationError"): 200,
        ("--code", "23514", "--kind", "artists"): 200,
        ("--id", "mended-7"): 1,
        ("--older-than", "1h"): 0,
        ("--newer-than", "1h", "--not-replayed"): 1000,
    }.items():
        assert await desk.count(*filters) == count, filters
    [shown] = await desk.run("show", "--service", "tableinator", "--kind", "artists", "--id", "mended-7")
    exported = tmp_path / "letters.jsonl"
    assert await desk.run("export", "--to", str(exported)) == {"exported": 1000, "file": str(exported)}
    bodies = Counter(json.loads(line)["body"].encode() for line in exported.read_text().splitlines())
    published = {body for of_kind in messages().values() for body in of_kind}
    assert shown["body"].encode() in published and bodies.keys() <= published

    # What can never be stored goes by its filter, after a dry run that changes nothing.
    unreadable = ("--reason", "not_json", "--kind", "artists")
    assert (await desk.run("drop", *unreadable, "--dry-run"))["chosen"] == 200
    assert (await desk.run("replay", "--all", "--dry-run"))["replayed"] == 1000
    assert (await desk.groups(), office.outcomes()) == (LETTERS, stored)
    assert (await desk.run("drop", *unreadable, "--yes"))["dropped"] == 200

    # The causes are removed.
    await mend(office.tables, office.graph)
    await office.start(MENDED)
    replayed = await desk.run("replay", "--all")
    await office.until_drained()

    assert (replayed["replayed"], replayed["refused"], replayed["outdated"]) == (800, 0, 0)
    assert office.outcomes() == {"new": 400, "dead_lettered": 400}
    await office.assert_all_stored()

    # The rest has come back, and is known for it.
    left = {place: count for place, count in NEVER.items() if place[2] != "not_json"}
    assert (await desk.groups(), await desk.count("--replayed")) == (left, 400)
    assert (await desk.run("drop", "--replayed", "--yes"))["dropped"] == 400
    assert await office.dead() == await office.broker.waiting(Service.TABLEINATOR) == 0


async def test_a_replay_that_is_killed_in_its_middle_is_run_again_and_nothing_is_lost_or_stored_twice(
    office: Office,
) -> None:
    desk = office.desk
    await mend(office.tables, office.graph)
    await office.start(MENDED)

    async with desk.typed("replay", "--all", "--rate", RATE) as process:
        graphinator = office.running[Service.GRAPHINATOR]  # whose queues come first
        await graphinator.until(lambda: graphinator.metrics().outcomes()["new"] >= BEFORE_THE_KILL, "storing replays")
        assert process.returncode is None, "the replay was over before it could be killed"
        process.kill()
        await process.wait()
    before = await office.dead()
    again = await desk.run("replay", "--all")
    await office.until_drained()

    outcomes = office.outcomes()
    twins = outcomes["unchanged"]
    print(f"killed with {before} letters left; run again: {again}; {dict(outcomes)}")
    assert (outcomes["new"], outcomes["changed"]) == (400, 0)
    await office.assert_all_stored()
    # Whatever was replayed and not yet taken from the letters when the kill came is there twice, and no more than that.
    left = await desk.groups()
    assert left.keys() == NEVER.keys()
    assert sum(left.values()) + twins - sum(NEVER.values()) <= 64
    assert await desk.count("--replayed") == sum(left.values())
    assert await bodies_of(office) == never_stored()
    await desk.run("drop", "--replayed", "--yes")
    assert await office.dead() == 0


async def bodies_of(office: Office) -> set[str]:
    """The bodies of all letters."""
    shown = await office.desk.run("show", "--limit", "2000")
    return {letter["body"] for letter in shown}


def never_stored() -> set[str]:
    """The bodies of what no cause's removal fixes."""
    shapeless = {f'"{record_id}"' for record_id in ids("labels", "shapeless")}
    texts = [body.decode() for of_kind in messages().values() for body in of_kind]
    return {
        text
        for text in texts
        if text.startswith("{not json") or '"id": null' in text or any(each in text for each in shapeless)
    }
