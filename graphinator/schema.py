"""The constraints that must exist before the first write: without them two writers duplicate a node."""

import re
from collections.abc import Mapping
from typing import Any

from neo4j import AsyncDriver, AsyncSession, AsyncTransaction, Record
from neo4j.exceptions import ClientError, DatabaseError, Neo4jError

from common.errors import StartRefused
from graphinator.ledger import LEDGER
from graphinator.model import NODES, Node

LEAST_VERSION = (5, 26)
"""The oldest that our statements were tried on: the long-term one of the 5 series."""

CONSTRAINED = (*NODES, *LEDGER)
"""Every label whose key is unique."""

_AWAIT_SECONDS = 300  # an index on a full graph may take minutes to come online


async def check_version(driver: AsyncDriver) -> None:
    """See that the server speaks our Cypher.

    Raises: StartRefused.
    """
    require_version((await driver.get_server_info()).agent)


def require_version(agent: str) -> None:
    """Read the version of what a server calls itself, such as `Neo4j/5.26.30` or `Neo4j/2025.11.2`.

    Raises: StartRefused.
    """
    match = re.match(r"Neo4j/(\d+)\.(\d+)", agent)
    if match is None or (int(match[1]), int(match[2])) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise StartRefused(f"The server calls itself {agent!r}; needed is Neo4j {least} or newer.")


async def create_schema(driver: AsyncDriver, database: str) -> None:
    """Create what is missing and wait until all of it is online. Several replicas may do so at the same time.

    Raises: StartRefused with the statements to run, if the user may not create constraints, the data forbids it, or
    something else has their names; TimeoutError if an index needs more time.
    """
    async with driver.session(database=database) as session:
        missing = await missing_constraints(session)
        while missing:
            try:
                for node in missing:
                    await (await session.run(statement_of(node))).consume()
            except (ClientError, DatabaseError) as error:
                tried, missing = missing, await missing_constraints(session)
                if missing == tried:  # else another replica has created some in the same moment, which is no matter
                    raise StartRefused(refusal_of(error, missing)) from error
            else:
                if missing := await missing_constraints(session):
                    raise StartRefused(await name_taken(session, missing))
        # Only ours: an index of somebody else may take its time, or have failed.
        for name in await _own_indexes(session):
            await _await(session, name)


def statement_of(node: Node) -> str:
    """The constraint that makes a label's key unique, and fast to seek."""
    return (
        f"CYPHER 5 CREATE CONSTRAINT {name_of(node)} IF NOT EXISTS FOR (n:{node.label}) REQUIRE n.{node.key} IS UNIQUE"
    )


def name_of(node: Node) -> str:
    """What we call the constraint of a label's key."""
    return f"{node.label}_{node.key}".lower()


async def missing_constraints(session: AsyncSession | AsyncTransaction) -> list[Node]:
    """The nodes without their constraint: where all have theirs, no privilege to create one is needed."""
    present = {(row["label"], *row["properties"]) for row in await _constraints(session)}
    return [node for node in CONSTRAINED if (node.label, node.key) not in present]


async def name_taken(session: AsyncSession | AsyncTransaction, missing: list[Node]) -> str:
    """A sentence that says what has the names of constraints that could not be created, though nothing was raised.

    `IF NOT EXISTS` does nothing where any constraint has the name.
    """
    result = await session.run(
        "CYPHER 5 SHOW CONSTRAINTS YIELD name, type, labelsOrTypes, properties WHERE name IN $names"
        " RETURN name, type, labelsOrTypes, properties ORDER BY name",
        names=[name_of(node) for node in missing],
    )
    found = [
        f"{row['name']} is a {row['type']} constraint on {', '.join(row['labelsOrTypes'])} "
        f"({', '.join(row['properties'])})"
        async for row in result
    ]
    statements = "; ".join(map(statement_of, missing))
    what = "; ".join(found) or "the server created nothing, and did not say why"
    return (
        "Neo4j has other constraints with the names of ours, so that keys would not be unique and nodes come twice: "
        f"{what}. Drop them (DROP CONSTRAINT …), or create ours by other names. Needed are: {statements}"
    )


def refusal_of(error: Neo4jError, missing: list[Node]) -> str:
    """A sentence that says why constraints can't be created, and which are needed."""
    statements = "; ".join(map(statement_of, missing))
    if "Security" in (error.code or ""):
        return f"Neo4j's user may not create constraints ({error.code}); let an administrator run: {statements}"
    return f"Neo4j can't create the graph's constraints: {error.message} ({error.code}). Needed are: {statements}"


async def unready_indexes(session: AsyncSession | AsyncTransaction) -> tuple[list[str], list[str]]:
    """A sentence for each index on one of our keys that has failed, and for each that is still being built.

    Also for one that no constraint owns: the server builds the index first and only then makes the constraint.
    """
    states = await _states(session)
    failed = [sentence for state in states if (sentence := failure_of(state))]
    return failed, [progress_of(state) for state in states if state["state"] not in ("FAILED", "ONLINE")]


def failure_of(index: Mapping[str, Any]) -> str | None:
    """What is to be done about an index, by its row of SHOW INDEXES; None if it has not failed. Pure."""
    if index["state"] != "FAILED":
        return None
    name, constraint = index["name"], index["owningConstraint"]
    drop = f"DROP CONSTRAINT {constraint}" if constraint else f"DROP INDEX {name}"
    return (
        f"Neo4j's index {name} has failed, so that no node can be found by its key: look into the server's log, then "
        f"run {drop} and start graphinator again, which creates it"
    )


def progress_of(index: Mapping[str, Any]) -> str:
    """How far an index is that is being built, by its row of SHOW INDEXES. Pure."""
    return f"the index {index['name']} is {index['state']}, {index['populationPercent'] or 0:.0f}% done"


async def _constraints(session: AsyncSession | AsyncTransaction) -> list[Record]:
    """Those that make a node's properties unique."""
    result = await session.run(
        "CYPHER 5 SHOW CONSTRAINTS YIELD entityType, type, labelsOrTypes, properties, ownedIndex"
        " WHERE entityType = 'NODE' AND (type CONTAINS 'UNIQUENESS' OR type CONTAINS 'KEY')"
        " RETURN labelsOrTypes[0] AS label, properties, ownedIndex"
    )
    return [row async for row in result]


async def _own_indexes(session: AsyncSession | AsyncTransaction) -> list[str]:
    keys = {(node.label, node.key) for node in CONSTRAINED}
    return [row["ownedIndex"] for row in await _constraints(session) if (row["label"], *row["properties"]) in keys]


async def _await(session: AsyncSession, name: str) -> None:
    """Wait until an index is online.

    Raises: StartRefused if it never will be; TimeoutError.
    """
    try:
        await (
            await session.run("CYPHER 5 CALL db.awaitIndex($name, $seconds)", name=name, seconds=_AWAIT_SECONDS)
        ).consume()
    except ClientError as error:
        index = await _state(session, name)
        if sentence := failure_of(index):
            raise StartRefused(f"{sentence}.") from error
        if index["state"] == "ONLINE":
            return
        raise TimeoutError(progress_of(index)) from error


async def _states(session: AsyncSession | AsyncTransaction) -> list[Record]:
    """Those of all indexes that a constraint of ours would have, or stands in the way of."""
    result = await session.run(
        "CYPHER 5 SHOW INDEXES YIELD name, type, entityType, labelsOrTypes, properties, state, populationPercent,"
        " owningConstraint WHERE entityType = 'NODE' AND type = 'RANGE'"
        " RETURN name, labelsOrTypes[0] AS label, properties, state, populationPercent, owningConstraint ORDER BY name"
    )
    keys = {(node.label, node.key) for node in CONSTRAINED}
    return [row async for row in result if (row["label"], *row["properties"]) in keys]


async def _state(session: AsyncSession | AsyncTransaction, name: str) -> Record:
    result = await session.run(
        "CYPHER 5 SHOW INDEXES YIELD name, state, populationPercent, owningConstraint WHERE name = $name"
        " RETURN name, state, populationPercent, owningConstraint",
        name=name,
    )
    return await result.single(strict=True)
