"""The ledger of whole services: exact with several replicas and a kill, and a pause that all of them obey."""

import asyncio

from common.kinds import KINDS, Service
from common.loads import Load, State
from extractor.synthetic.synthetic import SyntheticLoad
from graphinator.ops import ledger as of_graph
from tableinator.ops import ledger as of_tables
from tests.e2e.broker import Broker
from tests.e2e.loads import messages_of
from tests.e2e.services import Services
from tests.e2e.sides import Graph, Side, Tables
from tests.integration import graphs, tables

REPLICAS = 4
BEFORE_THE_KILL = 200  # records
FIRST = SyntheticLoad(6_000, seed=9)
SECOND = SyntheticLoad(6_000, seed=9, month=FIRST.month + 1)

_WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
AND wait_event_type = 'Lock' AND query LIKE '%spindle_%'
"""


async def test_four_replicas_of_which_one_is_killed_count_new_and_changed_exactly_and_wait_for_no_row(
    broker: Broker, services: Services, side: Side
) -> None:
    changed, new = _differences()
    await broker.declare(side.service)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_lock_waits(side))
        running = [await services.start(side.service, broker.environment | side.environment) for _ in range(REPLICAS)]
        publishing = tasks.create_task(broker.publish(FIRST))
        await running[0].until_settled(BEFORE_THE_KILL)
        running[0].kill()
        published = await publishing
        await broker.until_drained(running[1])
        await broker.publish(SECOND)
        await broker.until_drained(running[1])
        for service in running[1:]:
            assert (await service.stop())[0] == 0  # a drain writes the numbers that wait
        watching.cancel()

    first, second = await _totals(side, FIRST.date), await _totals(side, SECOND.date)
    assert (first["new"], first["changed"]) == (published, 0)
    assert (second["new"], second["changed"]) == (new, changed)
    assert _waited == []
    assert await _processes(side) == REPLICAS
    assert {load.state for load in await _loads(side)} == {State.ANNOUNCED}


async def test_a_paused_service_leaves_its_queues_alone_also_after_a_restart_until_it_is_resumed(
    broker: Broker, services: Services, side: Side
) -> None:
    environment = broker.environment | side.environment
    await broker.declare(side.service)
    service = await services.start(side.service, environment)
    await _pause(side, paused=True)
    await service.until(lambda: set(service.ready()[1].get("paused", {})) == set(KINDS), "paused")
    published = await broker.publish(FIRST)
    assert service.ready()[0] == 200, "a pause is no fault"
    assert service.ready()[1]["paused"]["artists"]["reason"] == "a backup"
    await service.stop()

    service = await services.start(side.service, environment)
    await service.until(lambda: set(service.ready()[1].get("paused", {})) == set(KINDS), "paused")
    controls = len(KINDS)
    async with asyncio.timeout(30):  # what came before the store was asked about a pause is on its way back
        while await broker.waiting(side.service) != published + controls:
            await asyncio.sleep(0.05)
    assert await side.stored() == 0

    await _pause(side, paused=False)
    await broker.until_drained(service)
    assert await side.stored() == published


_waited: list[int] = []


async def _lock_waits(side: Side) -> None:
    """Look again and again whether a statement on the ledger waits for a lock; Neo4j's community edition can't tell."""
    _waited.clear()
    while isinstance(side, Tables):
        [row] = await tables.fetch(side.dsn, _WAITING)
        if row["count"]:
            _waited.append(row["count"])
        await asyncio.sleep(0.05)


def _differences() -> tuple[int, int]:
    """How many records of the second load are changed, and how many are new."""
    before, after = (
        {message.message_id: message.sha256 for kind in load.kinds for message in messages_of(load, kind)}
        for load in (FIRST, SECOND)
    )
    return (
        sum(key in before and before[key] != sha for key, sha in after.items()),
        len(after.keys() - before.keys()),
    )


async def _loads(side: Side) -> list[Load]:
    if isinstance(side, Graph):
        return await of_graph.read_loads(graphs.settings(side.server).neo4j)
    assert isinstance(side, Tables)
    return await of_tables.read_loads(side.settings)


async def _totals(side: Side, load: str) -> dict[str, int]:
    found = [each.totals for each in await _loads(side) if each.load == load]
    return {name: sum(getattr(each, name) for each in found) for name in ("new", "changed")}


async def _processes(side: Side) -> int:
    if isinstance(side, Graph):
        [[count]] = await graphs.fetch(side.server, "MATCH (p:SpindleProgress) RETURN count(DISTINCT p.process)")
        return int(count)
    assert isinstance(side, Tables)
    [row] = await tables.fetch(side.dsn, "SELECT count(DISTINCT process) FROM spindle_progress")
    return int(row["count"])


async def _pause(side: Side, *, paused: bool) -> None:
    if side.service is Service.GRAPHINATOR:
        assert isinstance(side, Graph)
        settings = graphs.settings(side.server).neo4j
        await of_graph.set_pause(settings, KINDS, by="me", reason="a backup", paused=paused)
    else:
        assert isinstance(side, Tables)
        await of_tables.set_pause(side.settings, KINDS, by="me", reason="a backup", paused=paused)
