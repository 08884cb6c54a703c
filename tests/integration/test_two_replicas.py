"""The same records by two replicas at one moment, in both stores, thousands of times: one winner, one set of edges.

Each batch of the one meets a batch of the same ids of the other where it matters: both have looked up, neither has
written, so that nothing but the statements' own conditions and locks can tell them apart. Every id meets once: what
the stores hold at the end shows every meeting.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import pytest
from neo4j import AsyncTransaction

from common.outcomes import Outcomes
from common.sink import Sink
from graphinator.sink import GraphSink
from graphinator.transactions import Transactions
from tableinator.connections import Connections
from tableinator.model import Row
from tableinator.sink import TableSink
from tableinator.store import open_store
from tableinator.transaction import Transaction
from tests.contract.sink import write_until_done
from tests.integration import graphs, tables
from tests.servers.servers import Neo4j

T = TypeVar("T")

BATCH, ROUNDS = 50, 60
MEETINGS = BATCH * ROUNDS
KNOWN = [number for number in range(ROUNDS) if number % 4 >= 2]
"""Rounds whose records are stored before, and change; those of the others are new to both. Never both in a batch: what
one replica makes new the other waits for before it looks at the rest, and then nothing meets."""
FIRST, OLDER, NEWER = "20250101", "20250201", "20250301"


class Crossing:
    """Where two replicas wait for each other, once a round; whoever comes again in it goes on."""

    def __init__(self) -> None:
        self.met = 0
        self.begin()

    def begin(self) -> None:
        """Have a new round."""
        self._awaited, self._both = 2, asyncio.Event()

    async def arrive(self) -> None:
        """Wait for the other."""
        if self._awaited:
            self._awaited -= 1
            if not self._awaited:
                self.met += 1
                self._both.set()
        async with asyncio.timeout(30.0):
            await self._both.wait()


class Paused:
    """A transaction that arrives at the crossing once it has looked up; all else is as it was."""

    def __init__(self, transaction: Any, crossing: Crossing) -> None:
        self._transaction, self._crossing = transaction, crossing
        self._asked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    async def fetch(self, statement: str, *arguments: Any) -> Any:
        """PostgreSQL's look-up is the first statement, and its answer is read."""
        rows = await self._transaction.fetch(statement, *arguments)
        if not self._asked:
            self._asked = True
            await self._crossing.arrive()
        return rows

    async def run(self, statement: str, parameters: dict[str, Any]) -> Any:
        """Neo4j's is the first as well, and its answer has been read when the second statement comes."""
        if self._asked:
            await self._crossing.arrive()
        self._asked = True
        return await self._transaction.run(statement, parameters)


class CrossingConnections(Connections):
    """A replica's connections to PostgreSQL."""

    crossing: Crossing

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction that meets the other replica's."""
        async with super().transaction() as transaction:
            yield Paused(transaction, self.crossing)  # type: ignore[misc]  # it stands for one


class CrossingTransactions(Transactions):
    """A replica's transactions on Neo4j."""

    crossing: Crossing

    async def run(self, work: Callable[[AsyncTransaction], Awaitable[T]]) -> T:
        """Give `work` a transaction that meets the other replica's."""
        return await super().run(lambda transaction: work(Paused(transaction, self.crossing)))  # type: ignore[arg-type]  # it stands for one


@pytest.fixture
def crossing() -> Crossing:
    return Crossing()


@pytest.fixture
async def table_sinks(dsn: str, crossing: Crossing) -> AsyncIterator[list[TableSink]]:
    """Two replicas' sinks for releases, each with connections of its own; half of the records are stored."""
    settings = tables.settings(dsn, kinds=("releases",))
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings))
        await store.sink("releases").write([row for number in KNOWN for row in rows(number, FIRST)])
        replicas = [CrossingConnections(settings.postgres, size=1) for _ in range(2)]
        for replica in replicas:
            replica.crossing = crossing
            await stack.enter_async_context(replica)
        yield [TableSink(replica, "releases") for replica in replicas]


@pytest.fixture
async def graph_sinks(empty_neo4j: Neo4j, crossing: Crossing) -> AsyncIterator[list[GraphSink]]:
    """The same with a driver each."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(graphs.opened(empty_neo4j))
        for number in KNOWN:
            await store.sink("releases").write(releases(number, FIRST))
        replicas = [
            CrossingTransactions(
                await stack.enter_async_context(graphs.driver(empty_neo4j)),
                database=empty_neo4j.database,
                connect_timeout=10.0,
                transaction_timeout=30.0,
            )
            for _ in range(2)
        ]
        for replica in replicas:
            replica.crossing = crossing
        yield [GraphSink("releases", replica) for replica in replicas]


# PostgreSQL


async def test_of_two_versions_by_two_replicas_the_newer_row_stands(
    table_sinks: list[TableSink], crossing: Crossing, dsn: str
) -> None:
    """Fault 61."""
    older, newer = await meet(table_sinks, crossing, lambda number: (rows(number, OLDER), rows(number, NEWER)))

    assert crossing.met == ROUNDS
    assert (newer.written, older.written + older.stale) == (MEETINGS, MEETINGS)
    assert await stored_rows(dsn) == expected_rows(NEWER)


async def test_of_one_version_by_two_replicas_one_row_is_written(
    table_sinks: list[TableSink], crossing: Crossing, dsn: str
) -> None:
    """Fault 61."""
    one, two = await meet(table_sinks, crossing, lambda number: (rows(number, NEWER), rows(number, NEWER)))

    assert crossing.met == ROUNDS
    assert one + two == Outcomes(new=MEETINGS // 2, changed=MEETINGS // 2, unchanged=MEETINGS)
    assert await stored_rows(dsn) == expected_rows(NEWER)


# Neo4j


async def test_of_two_versions_by_two_replicas_the_newer_node_stands_with_its_edges_alone(
    graph_sinks: list[GraphSink], crossing: Crossing, empty_neo4j: Neo4j
) -> None:
    """Fault 61."""
    older, newer = await meet(graph_sinks, crossing, lambda number: (releases(number, OLDER), releases(number, NEWER)))

    assert crossing.met == ROUNDS
    assert (newer.written, older.written + older.stale) == (MEETINGS, MEETINGS)
    assert await stored_nodes(empty_neo4j) == expected_nodes(NEWER)
    assert await graphs.edges(empty_neo4j) == expected_edges(NEWER)


async def test_of_one_version_by_two_replicas_one_set_of_edges_is_written(
    graph_sinks: list[GraphSink], crossing: Crossing, empty_neo4j: Neo4j
) -> None:
    """Fault 61."""
    one, two = await meet(graph_sinks, crossing, lambda number: (releases(number, NEWER), releases(number, NEWER)))

    assert crossing.met == ROUNDS
    assert one + two == Outcomes(new=MEETINGS // 2, changed=MEETINGS // 2, unchanged=MEETINGS)
    assert await stored_nodes(empty_neo4j) == expected_nodes(NEWER)
    assert await graphs.edges(empty_neo4j) == expected_edges(NEWER)


# Meeting


async def meet(
    sinks: Sequence[Sink[Any]], crossing: Crossing, batches: Callable[[int], tuple[list[Any], list[Any]]]
) -> list[Outcomes]:
    """Have two sinks write their batches of every round at the same moment.

    Returns: what became of the first batches, and of the second ones.
    """
    totals = [Outcomes(), Outcomes()]
    for number in range(ROUNDS):
        crossing.begin()
        # Each comes first in turn, and the two come in opposite orders of ids: what has to be sorted, the sinks sort.
        one, two = batches(number)
        pairs = [(0, sinks[number % 2], one), (1, sinks[1 - number % 2], two[::-1])]
        async with asyncio.TaskGroup() as group:
            writes = {
                place: group.create_task(write_until_done(sink, batch))
                for place, sink, batch in (pairs if number % 2 else pairs[::-1])
            }
        totals = [total + writes[place].result() for place, total in enumerate(totals)]
    print(f"{MEETINGS:,} meetings: {totals[0]} and {totals[1]}")
    return totals


def ids(number: int) -> list[str]:
    """A round's ids."""
    return [f"{number:03}-{place:03}" for place in range(BATCH)]


# What is written, and what must stand


def rows(number: int, version: str) -> list[Row]:
    return [tables.row(record_id, body_of(record_id, version), version=version) for record_id in ids(number)]


def body_of(record_id: str, version: str) -> bytes:
    return json.dumps({"id": record_id, "title": f"as of {version}"}).encode()


async def stored_rows(dsn: str) -> list[tuple[str, str, str]]:
    found = await tables.fetch(dsn, "SELECT data_id, data ->> 'title', version FROM releases ORDER BY data_id")
    return [(row[0], row[1], row[2]) for row in found]


def expected_rows(version: str) -> list[tuple[str, str, str]]:
    return [(record_id, f"as of {version}", version) for number in range(ROUNDS) for record_id in ids(number)]


def releases(number: int, version: str) -> list[Any]:
    """Other edges in each version, so that a union of two would show."""
    return [
        graphs.record(
            "releases",
            record_id,
            load=version,
            title=f"as of {version}",
            artists=[{"id": f"{place % 7 + 1}"}],
            labels=[{"id": "5", "catno": version}],
            styles=[f"of {version}"],
            extraartists=[{"id": "9", "role": "Producer"}] if version == OLDER else [],
        )
        for place, record_id in enumerate(ids(number))
    ]


async def stored_nodes(server: Neo4j) -> dict[str, tuple[str, str]]:
    found = await graphs.fetch(server, "MATCH (n:Release) RETURN n.id, n.title, n.load")
    nodes = {record_id: (title, load) for record_id, title, load in found}
    assert len(nodes) == len(found)
    return nodes


def expected_nodes(version: str) -> dict[str, tuple[str, str]]:
    return {record_id: (f"as of {version}", version) for number in range(ROUNDS) for record_id in ids(number)}


def expected_edges(version: str) -> list[str]:
    return sorted(
        edge
        for number in range(ROUNDS)
        for place, record_id in enumerate(ids(number))
        for edge in (
            f"Release {record_id} -BY-> Artist {place % 7 + 1}",
            f"Release {record_id} -ON {{catno: {version}}}-> Label 5",
            f"Release {record_id} -IS-> Style of {version}",
        )
    )
