"""The constraints that must exist before the first write: without them two writers duplicate a node."""

import re

from neo4j import AsyncDriver, AsyncSession
from neo4j.exceptions import ClientError, DatabaseError, Neo4jError

from common.errors import StartRefused
from graphinator.model import NODES, Node

LEAST_VERSION = (5, 23)
"""The first server that knows `CALL () {…}`."""

_AWAIT_SECONDS = 300  # an index on a full graph may take minutes to come online


async def check_version(driver: AsyncDriver) -> None:
    """See that the server speaks our Cypher.

    Raises: StartRefused.
    """
    agent = (await driver.get_server_info()).agent
    match = re.match(r"Neo4j/(\d+)\.(\d+)", agent)
    if match is None or (int(match[1]), int(match[2])) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise StartRefused(f"The graph's server is {agent}; Neo4j {least} or newer is needed (it knows CALL () {{…}}).")


async def create_schema(driver: AsyncDriver, database: str) -> None:
    """Create what is missing and wait until all of it is online. Several replicas may do so at the same time.

    Raises: StartRefused with the statements to run, where the user may not create constraints or the data forbids it.
    """
    async with driver.session(database=database) as session:
        try:
            for node in await _missing(session):
                await (await session.run(statement_of(node))).consume()
        except (ClientError, DatabaseError) as error:
            # What another replica has created in the same moment is an error too, and no matter.
            if missing := await _still_missing(session):
                raise StartRefused(_refusal(error, missing)) from error
        await (await session.run("CALL db.awaitIndexes($seconds)", seconds=_AWAIT_SECONDS)).consume()


def statement_of(node: Node) -> str:
    """The constraint that makes a label's key unique, and fast to seek."""
    name = f"{node.label}_{node.key}".lower()
    return f"CREATE CONSTRAINT {name} IF NOT EXISTS FOR (n:{node.label}) REQUIRE n.{node.key} IS UNIQUE"


async def _missing(session: AsyncSession) -> list[Node]:
    """The nodes without their constraint: where all have theirs, no privilege to create one is needed."""
    constraints = await session.run(
        "SHOW CONSTRAINTS YIELD entityType, type, labelsOrTypes, properties"
        " WHERE entityType = 'NODE' AND (type CONTAINS 'UNIQUENESS' OR type CONTAINS 'KEY')"
        " RETURN labelsOrTypes[0] AS label, properties"
    )
    present = {(row["label"], *row["properties"]) async for row in constraints}
    return [node for node in NODES if (node.label, node.key) not in present]


async def _still_missing(session: AsyncSession) -> list[Node]:
    try:
        return await _missing(session)
    except ClientError:  # who may not look may not create either
        return list(NODES)


def _refusal(error: Neo4jError, missing: list[Node]) -> str:
    statements = "; ".join(map(statement_of, missing))
    if "Security" in (error.code or ""):
        return f"Neo4j's user may not create constraints ({error.code}); let an administrator run: {statements}"
    return f"Neo4j can't create the graph's constraints: {error.message} ({error.code}). Needed are: {statements}"
