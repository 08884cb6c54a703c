"""What happens before the first write: waiting, refusing, and the schema."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.errors import StartRefused
from common.kinds import KINDS
from graphinator.schema import CONSTRAINED, failure_of, progress_of, require_version
from graphinator.statements import statements_of
from graphinator.store import open_store
from tests.contract.proxy import cuttable_proxy
from tests.integration.graphs import address, driver, fetch, opened, record, settings
from tests.logged import setting
from tests.servers.servers import Neo4j

CONSTRAINTS = (
    "SHOW CONSTRAINTS YIELD name, labelsOrTypes, properties RETURN name, labelsOrTypes[0] + '.' + properties[0]"
)

STATE_OF_THEIRS = "SHOW INDEXES YIELD name, state WHERE name = 'theirs' RETURN state"


@pytest.fixture
async def bare_neo4j(empty_neo4j: Neo4j) -> AsyncIterator[Neo4j]:
    """The shared Neo4j without nodes and constraints; afterwards it has them again."""
    for name, _ in await fetch(empty_neo4j, CONSTRAINTS):
        await fetch(empty_neo4j, f"DROP CONSTRAINT {name}")
    yield empty_neo4j
    empty_neo4j.empty()
    async with opened(empty_neo4j):
        pass


# Schema


async def test_the_constraints_exist_before_the_first_write(bare_neo4j: Neo4j) -> None:
    """Fault 58."""
    async with opened(bare_neo4j):
        pass

    unique = {what for _, what in await fetch(bare_neo4j, CONSTRAINTS)}
    assert unique == {f"{node.label}.{node.key}" for node in CONSTRAINED}
    states = await fetch(bare_neo4j, "SHOW INDEXES YIELD type, state WHERE type = 'RANGE' RETURN DISTINCT state")
    assert states == [["ONLINE"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_planned_on_an_empty_graph_no_statement_looks_at_every_node(empty_neo4j: Neo4j, kind: str) -> None:
    """They are planned once, and so must do for any size."""
    statements = statements_of(kind)
    async with opened(empty_neo4j), driver(empty_neo4j) as direct:
        for statement in (statements.look_up, statements.store, statements.hold):
            _, summary, _ = await direct.execute_query("EXPLAIN " + statement, batch={}, id="1")
            assert _operators(summary.plan or {}) & {"AllNodesScan", "NodeByLabelScan", "NodeIndexScan"} == set()
            # From 2025.11 on a MERGE has an operator of its own, which seeks in the same index.
            assert re.search("NodeUniqueIndexSeek|MergeUniqueNode", " ".join(_operators(summary.plan or {})))


def _operators(plan: dict[str, Any]) -> set[str]:
    return {plan["operatorType"].split("@")[0]}.union(*map(_operators, plan.get("children", [])))


async def test_replicas_that_start_together_all_start(bare_neo4j: Neo4j) -> None:
    for _ in range(3):
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(stack.enter_async_context(opened(bare_neo4j)))
        for name, _ in await fetch(bare_neo4j, CONSTRAINTS):
            await fetch(bare_neo4j, f"DROP CONSTRAINT {name}")


async def test_a_constraint_of_another_name_will_do(bare_neo4j: Neo4j) -> None:
    await fetch(bare_neo4j, "CREATE CONSTRAINT by_another_name FOR (a:Artist) REQUIRE a.id IS UNIQUE")

    async with opened(bare_neo4j) as store:
        assert (await store.sink("artists").write([record("artists", "1")])).new == 1


async def test_data_that_forbids_a_constraint_refuses_the_start_with_the_statements(bare_neo4j: Neo4j) -> None:
    await fetch(bare_neo4j, "CREATE (:Artist {id: '1'}), (:Artist {id: '1'})")

    with pytest.raises(StartRefused) as refused:
        async with opened(bare_neo4j):
            pass

    assert "CREATE CONSTRAINT artist_id IF NOT EXISTS FOR (n:Artist) REQUIRE n.id IS UNIQUE" in str(refused.value)


@pytest.mark.parametrize(
    "other",
    [
        "CREATE CONSTRAINT artist_id FOR (p:Person) REQUIRE p.id IS UNIQUE",
        "CREATE CONSTRAINT artist_id FOR (a:Artist) REQUIRE a.name IS UNIQUE",
        "CREATE CONSTRAINT artist_id FOR (a:Artist) REQUIRE (a.id, a.name) IS UNIQUE",
        "CREATE CONSTRAINT artist_id FOR ()-[e:BY]-() REQUIRE e.id IS UNIQUE",
        "CREATE INDEX artist_id FOR (p:Person) ON (p.id)",
    ],
    ids=["another label", "another property", "two properties", "edges", "an index"],
)
async def test_something_else_that_has_the_name_of_our_constraint_refuses_the_start(
    bare_neo4j: Neo4j, other: str
) -> None:
    """Fault 71: `IF NOT EXISTS` would do nothing, and two replicas would double their nodes."""
    await fetch(bare_neo4j, other)
    try:
        with pytest.raises(StartRefused) as refused:
            async with opened(bare_neo4j):
                pass
    finally:
        await fetch(bare_neo4j, f"DROP {other.split()[1]} artist_id")

    assert "artist_id" in str(refused.value)
    assert "FOR (n:Artist) REQUIRE n.id IS UNIQUE" in str(refused.value)


async def test_only_our_own_indexes_are_awaited(empty_neo4j: Neo4j) -> None:
    """Fault 80."""
    await fetch(empty_neo4j, "CREATE (:Theirs {text: $text})", text="x" * 40_000)  # more than an index takes
    await fetch(empty_neo4j, "CREATE INDEX theirs FOR (n:Theirs) ON (n.text)")
    try:
        while await fetch(empty_neo4j, STATE_OF_THEIRS) != [["FAILED"]]:
            await asyncio.sleep(0.05)

        async with asyncio.timeout(60), opened(empty_neo4j) as store:
            assert (await store.sink("artists").write([record("artists", "1")])).new == 1
    finally:
        await fetch(empty_neo4j, "DROP INDEX theirs")


async def test_an_index_of_ours_that_has_failed_is_named_with_what_to_do() -> None:
    row = {"name": "artist_id", "state": "FAILED", "populationPercent": 0.0, "owningConstraint": "by_another_name"}

    assert failure_of(row | {"state": "POPULATING"}) is None
    assert progress_of(row | {"state": "POPULATING"}) == "the index artist_id is POPULATING, 0% done"
    sentence = failure_of(row) or ""
    assert "artist_id" in sentence
    assert "DROP CONSTRAINT by_another_name" in sentence


@pytest.mark.parametrize("agent", ["Neo4j/5.25.0", "Neo4j/4.4.30", "Neo4j/5.9.0", "Memgraph/2.0", ""])
def test_a_server_that_does_not_know_our_cypher_refuses_the_start(agent: str) -> None:
    with pytest.raises(StartRefused, match=r"5\.26"):
        require_version(agent)


@pytest.mark.parametrize("agent", ["Neo4j/5.26.0", "Neo4j/5.26.30", "Neo4j/2025.11.2", "Neo4j/5.27.0-aura"])
def test_a_server_that_knows_our_cypher_will_do(agent: str) -> None:
    require_version(agent)


# Refusing


async def test_a_wrong_password_refuses_the_start_after_one_try(empty_neo4j: Neo4j) -> None:
    with pytest.raises(StartRefused) as refused:
        async with opened(empty_neo4j, password="not-this-one"):
            pass

    assert "NEO4J_PASSWORD" in str(refused.value)
    assert "not-this-one" not in str(refused.value)
    # Four wrong tries would lock the right password out.
    async with opened(empty_neo4j):
        pass


async def test_a_database_that_does_not_exist_refuses_the_start(empty_neo4j: Neo4j) -> None:
    with pytest.raises(StartRefused, match="NEO4J_DATABASE"):
        async with opened(replace(empty_neo4j, database="nosuch")):
            pass


async def test_after_too_many_wrong_logins_of_others_the_right_one_waits_and_starts(empty_neo4j: Neo4j) -> None:
    for _ in range(4):
        with pytest.raises(StartRefused):
            async with opened(empty_neo4j, password="not-this-one"):
                pass

    with capture_logs() as logs:
        async with opened(empty_neo4j) as store:
            assert (await store.sink("artists").write([record("artists", "1")])).new == 1

    assert any("AuthenticationRateLimit" in str(line.get("reason")) for line in logs)


# Waiting


async def test_a_server_that_is_not_up_yet_is_waited_for_and_the_log_says_so(empty_neo4j: Neo4j) -> None:
    async with cuttable_proxy(*address(empty_neo4j)) as proxy:
        proxy.cut()
        waiting = asyncio.Event()
        with capture_logs(processors=[setting(waiting)]) as logs:
            async with asyncio.TaskGroup() as group:
                opening = group.create_task(_open_and_write(empty_neo4j, proxy.port))
                await waiting.wait()
                assert not opening.done()
                proxy.mend()

    assert logs[0]["event"] == "Waiting for the store"
    assert logs[0]["address"] == f"127.0.0.1:{proxy.port}"
    assert logs[0]["log_level"] == "warning"
    assert logs[-1]["event"] == "The store is there"


async def test_a_server_that_accepts_and_says_nothing_is_waited_for_too(empty_neo4j: Neo4j) -> None:
    async with cuttable_proxy(*address(empty_neo4j)) as proxy:
        proxy.freeze()
        waiting = asyncio.Event()
        with capture_logs(processors=[setting(waiting)]):
            async with asyncio.TaskGroup() as group:
                group.create_task(_open_and_write(empty_neo4j, proxy.port, connect_timeout=1.0))
                await waiting.wait()
                proxy.mend()


async def test_waiting_can_be_cancelled() -> None:
    nowhere = Neo4j("bolt://127.0.0.1:1", "neo4j", "a password")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), open_store(settings(nowhere)):
            pass


async def _open_and_write(server: Neo4j, port: int, **limits: float) -> None:
    async with opened(server, port=port, **limits) as store:
        await store.sink("artists").write([record("artists", "1")])
