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
    require_version((await driver.get_server_info()).agent)


def require_version(agent: str) -> None:
    """Read the version of what a server calls itself, such as `Neo4j/5.26.30` or `Neo4j/2025.11.2`.

    Raises: StartRefused.
    """
    match = re.match(r"Neo4j/(\d+)\.(\d+)", agent)
    if match is None or (int(match[1]), int(match[2])) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise StartRefused(f"The server calls itself {agent!r}; needed is Neo4j {least} or newer, for CALL () {{…}}.")


async def create_schema(driver: AsyncDriver, database: str) -> None:
    """Create what is missing and wait until all of it is online. Several replicas may do so at the same time.

    Raises: StartRefused with the statements to run, where the user may not create constraints or the data forbids it.
    """
    async with driver.session(database=database) as session:
        missing = await missing_constraints(session)
        while missing:
            try:
                for node in missing:
                    await (await session.run(statement_of(node))).consume()
                break
            except (ClientError, DatabaseError) as error:
                tried, missing = missing, await missing_constraints(session)
                if missing == tried:  # else another replica has created some in the same moment, which is no matter
                    raise StartRefused(refusal_of(error, missing)) from error
        await (await session.run("CALL db.awaitIndexes($seconds)", seconds=_AWAIT_SECONDS)).consume()


def statement_of(node: Node) -> str:
    """The constraint that makes a label's key unique, and fast to seek."""
    name = f"{node.label}_{node.key}".lower()
    return f"CREATE CONSTRAINT {name} IF NOT EXISTS FOR (n:{node.label}) REQUIRE n.{node.key} IS UNIQUE"


async def missing_constraints(session: AsyncSession) -> list[Node]:
    """The nodes without their constraint: where all have theirs, no privilege to create one is needed."""
    constraints = await session.run(
        "SHOW CONSTRAINTS YIELD entityType, type, labelsOrTypes, properties"
        " WHERE entityType = 'NODE' AND (type CONTAINS 'UNIQUENESS' OR type CONTAINS 'KEY')"
        " RETURN labelsOrTypes[0] AS label, properties"
    )
    present = {(row["label"], *row["properties"]) async for row in constraints}
    return [node for node in NODES if (node.label, node.key) not in present]


def refusal_of(error: Neo4jError, missing: list[Node]) -> str:
    """A sentence that says why constraints can't be created, and which are needed."""
    statements = "; ".join(map(statement_of, missing))
    if "Security" in (error.code or ""):
        return f"Neo4j's user may not create constraints ({error.code}); let an administrator run: {statements}"
    return f"Neo4j can't create the graph's constraints: {error.message} ({error.code}). Needed are: {statements}"
