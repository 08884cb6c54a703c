"""Several writers at once, and commits whose answer is lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from neo4j import AsyncDriver, AsyncTransaction
from neo4j.exceptions import TransientError

from common.errors import StoreUnavailable, WriteConflict
from common.outcomes import Outcomes
from graphinator.projection import GraphRecord
from graphinator.sink import GraphSink
from graphinator.steps import Steps
from tests.contract.proxy import cuttable_proxy
from tests.contract.sink import write_until_done
from tests.integration.graphs import address, driver, edges, fetch, graph_sink, opened, record
from tests.servers.servers import Neo4j

COMMIT = b"\x00\x02\xb0\x12\x00\x00"  # Bolt: a chunk of two bytes, an empty structure of COMMIT's kind, the end


@pytest.fixture
async def sinks(empty_neo4j: Neo4j) -> AsyncIterator[list[GraphSink]]:
    """Two services' sinks for releases, each with its own driver."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(empty_neo4j, writers=2)) for _ in range(2)]
        yield [store.sink("releases") for store in stores]


@pytest.fixture
async def direct(empty_neo4j: Neo4j) -> AsyncIterator[AsyncDriver]:
    """A driver past the store, on a database that has its constraints."""
    async with opened(empty_neo4j), driver(empty_neo4j) as direct_driver:
        yield direct_driver


def releases(count: int, title: str, **fields: object) -> list[GraphRecord]:
    given: dict[str, Any] = {
        "artists": [{"id": "194"}],
        "genres": ["Rock"],
        "labels": [{"id": "5", "catno": "C"}],
    } | fields
    return [record("releases", f"{number:03}", title=title, **given) for number in range(count)]


async def write_both(sinks: Sequence[GraphSink], one: list[GraphRecord], two: list[GraphRecord]) -> list[Outcomes]:
    async with asyncio.TaskGroup() as group:
        writes = [
            group.create_task(write_until_done(sink, batch)) for sink, batch in zip(sinks, (one, two), strict=True)
        ]
    return [write.result() for write in writes]


# Two services


async def test_two_services_changing_the_same_records_leave_one_set_of_edges(
    sinks: list[GraphSink], empty_neo4j: Neo4j
) -> None:
    """Fault 61."""
    await sinks[0].write(releases(40, "first"))
    for round_number in range(10):
        # Other edges on each side, so that a union of both would show.
        one = releases(40, f"one {round_number}", styles=["Ska"])
        two = releases(40, f"two {round_number}", styles=["Dub"], extraartists=[{"id": "2", "role": "Producer"}])

        outcomes = await write_both(sinks, one, two[::-1])

        assert outcomes == [Outcomes(changed=40)] * 2
        titles = {title for (title,) in await fetch(empty_neo4j, "MATCH (n:Release) RETURN DISTINCT n.title")}
        assert titles in ({f"one {round_number}"}, {f"two {round_number}"})
        per_record = 4 if titles == {f"one {round_number}"} else 5
        assert len(await edges(empty_neo4j)) == 40 * per_record


async def test_two_services_redelivered_the_same_change_write_it_once(
    sinks: list[GraphSink], empty_neo4j: Neo4j
) -> None:
    await sinks[0].write(releases(40, "first"))
    for round_number in range(10):
        changed = releases(40, f"changed {round_number}")

        one, two = await write_both(sinks, changed, changed)

        assert one + two == Outcomes(changed=40, unchanged=40)
        assert len(await edges(empty_neo4j)) == 40 * 3


async def test_what_another_has_written_between_look_up_and_store_is_dropped(
    direct: AsyncDriver, sinks: list[GraphSink], empty_neo4j: Neo4j
) -> None:
    steps, batch = Steps("releases"), releases(2, "a title")
    async with direct.session() as session, await session.begin_transaction(timeout=30) as transaction:
        assert await steps.look_up(transaction, batch) == ["new", "new"]
        await sinks[0].write(batch[:1])

        assert await steps.store(transaction, batch) == ["unchanged", "new"]

        await transaction.rollback()
    assert len(await edges(empty_neo4j)) == 3


async def test_a_locked_record_waits_for_whoever_holds_it(direct: AsyncDriver, sinks: list[GraphSink]) -> None:
    steps = Steps("releases")
    await sinks[0].write(releases(1, "first"))
    async with asyncio.TaskGroup() as group, direct.session() as session:
        transaction = await session.begin_transaction(timeout=30)
        await steps.store(transaction, releases(1, "by hand"))
        write = group.create_task(sinks[0].write(releases(1, "second")))
        done, _ = await asyncio.wait([write], timeout=0.5)

        assert not done

        await transaction.rollback()
    assert write.result() == Outcomes(changed=1)


async def test_what_another_writes_while_one_waits_for_the_lock_is_seen(
    direct: AsyncDriver, sinks: list[GraphSink], empty_neo4j: Neo4j
) -> None:
    changed = releases(1, "second", styles=["Ska"])
    await sinks[0].write(releases(1, "first"))
    async with asyncio.TaskGroup() as group, direct.session() as session:
        transaction = await session.begin_transaction(timeout=30)
        await Steps("releases").store(transaction, changed)
        write = group.create_task(sinks[0].write(changed))
        await _seen_waiting(empty_neo4j)
        await transaction.commit()

    assert write.result() == Outcomes(unchanged=1)


async def test_kinds_that_share_their_targets_all_arrive(sinks: list[GraphSink], empty_neo4j: Neo4j) -> None:
    async with opened(empty_neo4j, writers=12) as store, asyncio.TaskGroup() as group:
        for start in range(0, 200, 50):
            numbers = range(start, start + 50)
            for kind, fields in (
                ("releases", {"artists": [{"id": "1"}], "genres": ["Rock"], "master_id": "1"}),
                ("masters", {"artists": [{"id": "1"}], "genres": ["Rock"]}),
                ("artists", {"aliases": [{"id": "1"}]}),
            ):
                batch = [record(kind, str(number), **fields) for number in numbers]
                group.create_task(write_until_done(store.sink(kind), batch))

    counts = await fetch(empty_neo4j, "MATCH ()-[e]->() RETURN type(e) AS type, count(e) ORDER BY type")
    assert counts == [["ALIAS_OF", 200], ["BY", 400], ["DERIVED_FROM", 200], ["IS", 400]]


# Conflicts


async def test_a_deadlock_is_a_conflict(direct: AsyncDriver, empty_neo4j: Neo4j) -> None:
    sink = graph_sink("releases", direct, empty_neo4j)
    await sink.write(releases(2, "first"))
    steps = Steps("releases")
    for attempt in range(20):  # the server chooses its victim; one of the next is ours
        one, two = releases(2, f"title {attempt}")
        async with direct.session() as session:
            transaction = await session.begin_transaction(timeout=20)
            await steps.store(transaction, [two])
            async with asyncio.TaskGroup() as group:
                write = group.create_task(_write_or_conflict(sink, [one, two]))
                await _seen_waiting(empty_neo4j)  # it holds the first, and waits for the second
                crossing = group.create_task(_store_or_give_up(transaction, steps, one))
                await asyncio.wait([write, crossing], return_when=asyncio.FIRST_COMPLETED)
                await crossing
                await transaction.close()
            if write.result() is None:
                return
    pytest.fail("the server never chose the sink")


async def _write_or_conflict(sink: GraphSink, batch: list[GraphRecord]) -> Outcomes | None:
    try:
        return await sink.write(batch)
    except WriteConflict:
        return None


async def _store_or_give_up(transaction: AsyncTransaction, steps: Steps, release: GraphRecord) -> None:
    try:
        await steps.store(transaction, [release])
    except TransientError:
        return


async def test_a_target_that_is_removed_in_mid_write_is_a_conflict(direct: AsyncDriver, empty_neo4j: Neo4j) -> None:
    sink = graph_sink("releases", direct, empty_neo4j)
    await fetch(empty_neo4j, "CREATE (:Release {id: '000'}), (:Genre {name: 'Rock'})")
    async with direct.session() as session, asyncio.TaskGroup() as group:
        holder = await session.begin_transaction(timeout=30)
        await (await holder.run("MATCH (n:Release) SET n.held = true")).consume()
        write = group.create_task(_write_or_conflict(sink, releases(1, "a title")))
        await _seen_waiting(empty_neo4j)  # it has found its genre, and has no edge to it yet
        await fetch(empty_neo4j, "MATCH (n:Genre) DELETE n")
        await holder.commit()

    assert write.result() is None
    assert await sink.write(releases(1, "a title")) == Outcomes(new=1)
    assert len(await edges(empty_neo4j)) == 3


async def _seen_waiting(server: Neo4j) -> None:
    while not await fetch(server, "SHOW TRANSACTIONS YIELD status WHERE status STARTS WITH 'Blocked' RETURN status"):
        await asyncio.sleep(0.05)


# Lost answers


async def test_when_the_answer_to_a_commit_is_lost_records_count_as_what_they_were(empty_neo4j: Neo4j) -> None:
    """Fault 18."""
    async with cuttable_proxy(*address(empty_neo4j)) as proxy, opened(empty_neo4j, port=proxy.port) as store:
        sink = store.sink("releases")
        await sink.write(releases(2, "first"))
        batch = [*releases(1, "second"), *releases(4, "first")[1:]]
        proxy.lose_answer_to(COMMIT)
        with pytest.raises(StoreUnavailable):
            await sink.write(batch)
        assert await fetch(empty_neo4j, "MATCH (n:Release) RETURN count(n.hash)") == [[4]]

        outcomes = await sink.write(batch)

        assert outcomes == Outcomes(new=2, changed=1, unchanged=1)
        assert await sink.write(batch) == Outcomes(unchanged=4)
        assert len(await edges(empty_neo4j)) == 12


async def test_when_the_answer_is_lost_a_record_without_hash_counts_as_what_it_was(empty_neo4j: Neo4j) -> None:
    async with cuttable_proxy(*address(empty_neo4j)) as proxy, opened(empty_neo4j, port=proxy.port) as store:
        sink = store.sink("artists")
        proxy.lose_answer_to(COMMIT)
        with pytest.raises(StoreUnavailable):
            await sink.write([record("artists", "1", sha256="")])

        assert await sink.write([record("artists", "1", sha256="")]) == Outcomes(new=1)
