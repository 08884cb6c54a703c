"""Look, before a load, whether Neo4j will take it: what a write needs is tried for real, and rolled back."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from neo4j import AsyncDriver, AsyncSession
from neo4j.exceptions import DriverError, Neo4jError

from common.errors import SinkError, StartRefused
from common.ops.checks import Check, Findings, sentence_of
from graphinator.classification import classify
from graphinator.ledger import COUNT
from graphinator.model import Form, edges_of, node_of
from graphinator.ops.foreign import foreign_nodes
from graphinator.projection import GraphRecord
from graphinator.schema import (
    missing_constraints,
    name_taken,
    refusal_of,
    require_version,
    statement_of,
    unready_indexes,
)
from graphinator.settings import Neo4jSettings
from graphinator.sink import GraphSink
from graphinator.store import open_driver
from graphinator.transactions import Transactions

_found = Findings("Neo4j")
_ID = "spindle doctor"  # no producer sends it
_ERRORS = (Neo4jError, DriverError, OSError)


async def check_graph(settings: Neo4jSettings, kinds: Sequence[str]) -> list[Check]:
    """Look at everything that graphinator needs for these kinds."""
    try:
        async with open_driver(settings) as driver:
            async with asyncio.timeout(settings.connect_timeout):
                agent = (await driver.get_server_info()).agent
            version = version_check(agent)
            if version.state != "ok":  # our statements mean nothing to it
                return [version]
            # What makes the constraints and what writes the nodes have limits of their own.
            async with asyncio.timeout(settings.connect_timeout + 3 * settings.transaction_timeout):
                server = await _server(driver, settings)
                return [server[0], version, *server[1:], *await _writes(driver, settings, kinds)]
    except StartRefused as error:
        return [_found.failed("login", str(error))]
    except _ERRORS as error:
        return [_found.failed("login", _sentence(classify(error)))]


def version_check(agent: str) -> Check:
    """Whether the server of this name, such as `Neo4j/5.26.30`, will do. Pure."""
    try:
        require_version(agent)
    except StartRefused as error:
        return _found.failed("version", f"{str(error).rstrip('.')}: upgrade it.")
    return _found.ok("version", f"It is {agent}.")


async def _server(driver: AsyncDriver, settings: Neo4jSettings) -> list[Check]:
    async with driver.session(database=settings.database) as session:
        asked = time.time()
        result = await session.run("CYPHER 5 RETURN datetime().epochMillis AS time")
        [row] = [record async for record in result]
        clock = _found.clock(row["time"] / 1000, asked=asked, answered=time.time())
        nodes = sum([record["nodes"] async for record in await session.run(COUNT)])
    return [
        _found.ok("login", f"{settings.address} takes the login, and opens the database."),
        clock,
        _found.ok("size", f"The graph holds {nodes:,} nodes."),
    ]


async def _writes(driver: AsyncDriver, settings: Neo4jSettings, kinds: Sequence[str]) -> list[Check]:
    async with driver.session(database=settings.database) as session:
        failed, unfinished = await unready_indexes(session)
        constraints = await _constraints(session, settings.transaction_timeout, is_building=bool(unfinished))
        others = await foreign_nodes(session, settings.transaction_timeout, _found)
    return [constraints, _indexes(failed, unfinished), others, *await _nodes(driver, settings, kinds)]


async def _constraints(session: AsyncSession, limit: float, *, is_building: bool) -> Check:
    """Create the constraints that are missing, and roll back; not while an index is being built, which locks."""
    missing = await missing_constraints(session)
    if not missing:
        return _found.ok("constraints", "All exist.")
    if is_building:
        return _found.unknown("constraints", f"{len(missing)} don't exist yet, and an index is being built.")
    try:
        async with await session.begin_transaction(timeout=limit) as transaction:
            for node in missing:
                await (await transaction.run(statement_of(node))).consume()
            lacking = await missing_constraints(transaction)
            taken = await name_taken(transaction, lacking) if lacking else ""
            await transaction.rollback()
    except Neo4jError as error:
        return _found.failed("constraints", f"{refusal_of(error, missing)}.")
    if taken:
        return _found.failed("constraints", f"{taken}.")
    return _found.ok("constraints", f"{len(missing)} don't exist yet: graphinator may create them.")


def _indexes(failed: Sequence[str], unfinished: Sequence[str]) -> Check:
    """A constraint is of use once its index is online."""
    building = f"Still being built: {', '.join(unfinished)}; graphinator waits for that when it starts."
    if failed:
        return _found.failed("indexes", " ".join([f"{'; '.join(failed)}.", *([building] if unfinished else [])]))
    if unfinished:
        return _found.warning("indexes", building)
    return _found.ok("indexes", "All that exist are online.")


async def _nodes(driver: AsyncDriver, settings: Neo4jSettings, kinds: Sequence[str]) -> list[Check]:
    """Write a record of each kind with every sort of edge, and errors into the ledger, and roll back."""
    transactions = Transactions(
        driver,
        database=settings.database,
        connect_timeout=settings.connect_timeout,
        transaction_timeout=settings.transaction_timeout,
    )
    sinks = {kind: GraphSink(kind, transactions) for kind in kinds}
    try:
        for kind, sink in sinks.items():
            await sink.probe(record_of(kind))
    except SinkError as error:
        return [_found.failed("nodes", f"A node of {kind} with its edges can't be written: {_sentence(error)}")]
    nodes = _found.ok("nodes", "One of each kind was written, with every sort of edge, and rolled back.")
    try:
        for sink in sinks.values():
            await sink.ledger.try_errors()
    except SinkError as error:
        return [nodes, _found.failed("ledger", f"What errors a load meets can't be written: {_sentence(error)}")]
    return [nodes, _found.ok("ledger", "It was written for trial, with what errors a load meets.")]


def record_of(kind: str) -> GraphRecord:
    """A record that has everything that one can have: what it leaves out the check would not try.

    Two of each sort of edge, alike but for their targets, as records have them. The targets are nobody's, so that
    nobody's lock is waited for; those of the kind's own label are others than the record.
    """
    properties: list[str | int | None] = [2000 if each.form is Form.YEAR else _ID for each in node_of(kind).properties]
    targets = [f"{_ID} {number}" for number in (1, 2)]
    edges: list[list[Any]] = [
        [[target, _ID] for target in targets] if edge.key else list(targets) for edge in edges_of(kind)
    ]
    return GraphRecord(_ID, "", "20000101", properties, edges)


def _sentence(error: SinkError) -> str:
    return sentence_of(error, "see that it runs, and NEO4J_HOST and NEO4J_PORT, or NEO4J_URI")
