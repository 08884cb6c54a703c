"""What the server and the driver really raise, and what the sink makes of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from neo4j import AsyncDriver, AsyncGraphDatabase, AsyncTransaction
from neo4j.exceptions import Neo4jError
from structlog.testing import capture_logs

from common.errors import BatchTooLarge, RecordsRefused, SinkError, StoreUnavailable, WriteConflict
from graphinator.classification import Meaning, row_of
from graphinator.projection import GraphRecord
from graphinator.statements import statements_of
from graphinator.transactions import Transactions
from tests.contract.proxy import cuttable_proxy
from tests.integration.graphs import address, driver, edges, fetch, graph_sink, opened, record
from tests.servers.servers import Neo4j


@pytest.fixture
def empty_neo4j(each_neo4j: Neo4j) -> Neo4j:
    """A Neo4j of each version without a node: what they raise is not the same."""
    each_neo4j.empty()
    return each_neo4j


@pytest.fixture
async def direct(empty_neo4j: Neo4j) -> AsyncIterator[AsyncDriver]:
    """A driver past the store, on a database that has its constraints."""
    async with opened(empty_neo4j), driver(empty_neo4j) as direct_driver:
        yield direct_driver


def artist(record_id: str = "1", name: Any = "N", aliases: Any = (), groups: Any = ()) -> GraphRecord:
    return GraphRecord(record_id, "hash:1", "20250201", [name, None], [list(aliases), list(groups)])


# Data


@pytest.mark.parametrize(
    ("bad", "error_class"),
    [
        (artist(aliases=["x" * 40_000]), "DatabaseError"),  # an index entry holds some 32 kB
        (artist("x" * 40_000), "DatabaseError"),
        (artist(name={"a": "map"}), "CypherTypeError"),
        (artist(name=[["nested"]]), "CypherTypeError"),
        (artist(name=["mixed", 1]), "CypherTypeError"),
        (artist(name=2**63), "OverflowError"),
        (artist(name="half a pair: \ud800"), "UnicodeEncodeError"),
    ],
    ids=["target too large", "id too large", "map", "nested", "mixed", "64 bits", "surrogate"],
)
async def test_a_record_that_can_never_be_stored_is_refused_for_certain(
    direct: AsyncDriver, empty_neo4j: Neo4j, bad: GraphRecord, error_class: str
) -> None:
    """Fault 25."""
    sink = graph_sink("artists", direct, empty_neo4j)

    for batch in ([bad], [artist("0"), bad, artist("2")]):
        with pytest.raises(RecordsRefused) as refused:
            await sink.write(batch)
        assert refused.value.certain
        assert refused.value.refusal.error_class == error_class

    # The connection has not suffered, and nothing was stored.
    assert (await sink.write([artist("0"), artist("2")])).new == 2
    assert set(await _ids(empty_neo4j)) == {"0", "2"}


async def test_a_key_that_is_none_means_the_records_fault(direct: AsyncDriver, empty_neo4j: Neo4j) -> None:
    """Not so NaN, which Neo4j 2026 takes: no key of ours is a number."""
    error = await _raised(direct, empty_neo4j, "UNWIND [null] AS x MERGE (:Artist {id: x})")

    assert error.code == "Neo.ClientError.Statement.SemanticError"
    assert row_of(error).meaning is Meaning.DATA


async def test_a_nul_in_a_text_is_taken(direct: AsyncDriver, empty_neo4j: Neo4j) -> None:
    assert (await graph_sink("artists", direct, empty_neo4j).write([artist(name="a \x00 in it")])).new == 1


async def _ids(server: Neo4j) -> list[str]:
    return [key for (key,) in await fetch(server, "MATCH (n:Artist) RETURN n.id")]


# Constraints: two meanings of one code


async def test_a_unique_violation_means_a_race(direct: AsyncDriver, empty_neo4j: Neo4j) -> None:
    await fetch(empty_neo4j, "CREATE (:Artist {id: '1'})")

    error = await _raised(direct, empty_neo4j, "CREATE (:Artist {id: '1'})")

    assert error.code == "Neo.ClientError.Schema.ConstraintValidationFailed"
    assert row_of(error).meaning is Meaning.RETRY_THEN_DATA


async def test_a_deletion_of_a_node_with_edges_has_the_same_code_and_means_something_else(
    direct: AsyncDriver, empty_neo4j: Neo4j
) -> None:
    await fetch(empty_neo4j, "CREATE (:Artist {id: '1'})-[:ALIAS_OF]->(:Artist {id: '2'})")

    error = await _raised(direct, empty_neo4j, "MATCH (n:Artist {id: '1'}) DELETE n")

    assert error.code == "Neo.ClientError.Schema.ConstraintValidationFailed"
    assert row_of(error).meaning is Meaning.RETRY


@pytest.mark.parametrize("statement", ["THIS IS NOT CYPHER", "RETURN $missing", "CALL no.such.procedure()"])
async def test_a_statement_that_the_server_does_not_know_is_never_the_records_fault(
    direct: AsyncDriver, empty_neo4j: Neo4j, statement: str
) -> None:
    row = row_of(await _raised(direct, empty_neo4j, statement))

    assert row.meaning is Meaning.OUTAGE
    assert row.alarm


async def _raised(direct: AsyncDriver, server: Neo4j, statement: str) -> Neo4jError:
    with pytest.raises(Neo4jError) as raised:
        async with direct.session(database=server.database) as session:
            await (await session.run(statement)).consume()
    return raised.value


async def test_a_record_that_meets_a_constraint_alone_and_again_is_refused(
    direct: AsyncDriver, empty_neo4j: Neo4j
) -> None:
    sink = graph_sink("artists", direct, empty_neo4j)
    await fetch(empty_neo4j, "CREATE CONSTRAINT no_two_names FOR (n:Artist) REQUIRE n.name IS UNIQUE")
    try:
        await sink.write([artist("1", name="same")])
        with pytest.raises(WriteConflict):
            await sink.write([artist("2", name="same"), artist("3", name="other")])

        with pytest.raises(RecordsRefused) as refused:
            await sink.write([artist("2", name="same")])

        assert refused.value.certain
    finally:
        await fetch(empty_neo4j, "DROP CONSTRAINT no_two_names")


async def test_a_constraint_of_somebody_else_that_no_row_knows_is_doubted_and_said(
    direct: AsyncDriver, empty_neo4j: Neo4j
) -> None:
    """A code that we know with a text and a GQLSTATUS that we don't: only the enterprise edition raises them."""
    sink = graph_sink("artists", direct, empty_neo4j)
    error = Neo4jError._hydrate_neo4j(
        code="Neo.ClientError.Schema.ConstraintValidationFailed", message="Node(1) must have the property `x`"
    )

    async def fail(_: AsyncTransaction) -> None:
        raise error

    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(RecordsRefused) as refused:
                await sink._transact(fail, alone=False)
            assert not refused.value.certain

    assert [(line["log_level"], line["code"]) for line in logs] == [("error", error.code)]
    assert "SHOW CONSTRAINTS" in logs[0]["alarm"]


# Timeouts


async def test_a_transaction_that_takes_too_long_is_ended_by_the_server(
    direct: AsyncDriver, empty_neo4j: Neo4j
) -> None:
    transactions = Transactions(direct, database=empty_neo4j.database, connect_timeout=10.0, transaction_timeout=0.1)

    async def dawdle(transaction: AsyncTransaction) -> None:
        while True:
            await (await transaction.run("RETURN 1")).consume()
            await asyncio.sleep(0.05)

    with pytest.raises(Neo4jError) as raised:
        await transactions.run(dawdle)

    assert row_of(raised.value).meaning is Meaning.TOO_LARGE_OR_OUTAGE


async def test_a_record_that_another_holds_for_longer_than_a_transaction_may_last_is_a_conflict(
    direct: AsyncDriver, empty_neo4j: Neo4j
) -> None:
    await fetch(empty_neo4j, "CREATE (:Artist {id: '1'})")
    sink = graph_sink("artists", direct, empty_neo4j, transaction_timeout=0.5)
    async with direct.session(database=empty_neo4j.database) as session:
        holder = await session.begin_transaction(timeout=60)
        await (await holder.run("MATCH (n:Artist {id: '1'}) SET n.held = true")).consume()

        with pytest.raises((WriteConflict, BatchTooLarge)):  # as the server sees first: the lock's end, or its own
            await sink.write([artist("1"), artist("2")])

        await holder.rollback()
    assert (await graph_sink("artists", direct, empty_neo4j).write([artist("1"), artist("2")])).new == 2


async def test_a_server_that_accepts_and_says_nothing_is_noticed(
    empty_neo4j: Neo4j, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 45."""
    monkeypatch.setattr("graphinator.transactions._SLACK", 0.2)
    limits = {"connect_timeout": 2.0, "transaction_timeout": 4.0}
    async with (
        cuttable_proxy(*address(empty_neo4j)) as proxy,
        opened(empty_neo4j, port=proxy.port, **limits) as store,
    ):
        sink = store.sink("artists")
        await sink.write([artist("0")])
        proxy.freeze()

        with pytest.raises(StoreUnavailable, match=r"no answer within 6\.2 s"):
            await sink.write([artist("1")])
        with pytest.raises(StoreUnavailable):  # the next one finds no connection to reuse and can't make one
            await sink.write([artist("1")])

        proxy.mend()
        assert (await sink.write([artist("1")])).total == 1
        assert store.pool_in_use() == 0


async def test_a_terminated_transaction_is_a_conflict(direct: AsyncDriver, empty_neo4j: Neo4j) -> None:
    await fetch(empty_neo4j, "CREATE (:Artist {id: '1'})")
    sink = graph_sink("artists", direct, empty_neo4j)
    async with direct.session(database=empty_neo4j.database) as session, asyncio.TaskGroup() as group:
        holder = await session.begin_transaction(timeout=60)
        await (await holder.run("MATCH (n:Artist {id: '1'}) SET n.held = true")).consume()
        write = group.create_task(_error_of(sink.write([artist("1"), artist("2")])))
        await _terminate_waiting(empty_neo4j)

        assert isinstance(await write, WriteConflict)
        await holder.rollback()


async def _error_of(write: Any) -> SinkError | None:
    try:
        await write
    except SinkError as error:
        return error
    return None


async def _terminate_waiting(server: Neo4j) -> None:
    """End the transaction that locks artists, once it waits."""
    locking = statements_of("artists").store[:40]
    while True:
        rows = await fetch(
            server,
            "SHOW TRANSACTIONS YIELD transactionId, currentQuery, status"
            " WHERE currentQuery STARTS WITH $locking AND status STARTS WITH 'Blocked' RETURN transactionId",
            locking=locking,
        )
        if rows:
            await fetch(server, "TERMINATE TRANSACTION $id YIELD message RETURN message", id=rows[0][0])
            return
        await asyncio.sleep(0.05)


# The operator's matters


async def test_a_password_that_is_no_longer_right_is_an_outage_with_an_alarm(empty_neo4j: Neo4j) -> None:
    async with AsyncGraphDatabase.driver(empty_neo4j.uri, auth=(empty_neo4j.username, "wrong")) as wrong:
        with pytest.raises(StoreUnavailable) as outage:
            await graph_sink("artists", wrong, empty_neo4j).write([artist()])

    assert "NEO4J_PASSWORD" in (outage.value.alarm or "")
    assert "wrong" not in f"{outage.value} {outage.value.alarm}"


async def test_a_database_that_is_gone_is_an_outage_with_an_alarm(direct: AsyncDriver, empty_neo4j: Neo4j) -> None:
    with pytest.raises(StoreUnavailable) as outage:
        await graph_sink("artists", direct, replace(empty_neo4j, database="nosuch")).write([artist()])

    assert "NEO4J_DATABASE" in (outage.value.alarm or "")


# Waiting for a turn


async def test_writers_of_all_kinds_are_served_in_the_order_in_which_they_came_and_never_more_than_allowed(
    empty_neo4j: Neo4j,
) -> None:
    """Fault 42."""
    order: list[int] = []
    async with opened(empty_neo4j, writers=1) as store:

        async def write(number: int) -> None:
            kind = ("artists", "labels", "masters")[number % 3]
            async with store.slots(kind):
                await store.sink(kind).write([record(kind, f"{number}")])
                order.append(number)
            assert store.pool_in_use() <= 1

        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(write(number))

    assert order == list(range(12))
    assert await edges(empty_neo4j) == []
