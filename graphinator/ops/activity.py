"""What graphinator's transactions wait for in Neo4j now: a sample of `SHOW TRANSACTIONS`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from neo4j import AsyncDriver

from common.kinds import Service
from common.ops.waits import Wait, Waiting
from graphinator.ops.asking import GraphQuestions
from graphinator.settings import Neo4jSettings
from graphinator.store import open_driver

_SAMPLE: Final = """\
CYPHER 5 SHOW TRANSACTIONS
YIELD database, metaData, currentQuery, status, pageHits, pageFaults
WHERE database = $database AND metaData.app = $app
RETURN coalesce(currentQuery, '') AS query, status, coalesce(pageHits, 0) AS hits, coalesce(pageFaults, 0) AS faults"""

_NONE: Final = "what graphinator's transactions do: none was seen, and a login may be shown only its own"

FAULTS: Final = 0.02
"""Share of a transaction's pages that were not in the page cache, from which it is the disk that it waits for."""


class GraphActivity(GraphQuestions):
    """Looks again and again."""

    def __init__(self, driver: AsyncDriver, settings: Neo4jSettings) -> None:
        super().__init__(driver, settings)
        self.unseen = _NONE

    async def look(self) -> list[Waiting]:
        """What each transaction of graphinator's does now.

        Raises: a SinkError.
        """
        rows = await self._ask(_SAMPLE, {"database": self._database, "app": str(Service.GRAPHINATOR)})
        self.unseen = "" if rows else self.unseen
        return [waiting(row["query"], row["status"], row["hits"], row["faults"]) for row in rows]


def waiting(query: str, status: str, hits: int, faults: int) -> Waiting:
    """What Neo4j's words mean. Pure.

    Source: https://neo4j.com/docs/cypher-manual/current/clauses/transaction-clauses/#query-listing-transactions
    """
    if status.startswith("Blocked"):
        return Waiting(Wait.LOCKS, "Blocked")
    if status.startswith("Closing"):
        return Waiting(Wait.OTHER, "commit")
    if not query:
        return Waiting(Wait.CLIENT, "between two statements")
    if faults > FAULTS * (hits + faults):
        return Waiting(Wait.DISK, "page faults")
    return Waiting(Wait.COMPUTES, status)


@asynccontextmanager
async def open_activity(settings: Neo4jSettings) -> AsyncIterator[GraphActivity]:
    """Connect for looking.

    Raises: StartRefused where the URI can't be one.
    """
    async with open_driver(settings) as driver:
        yield GraphActivity(driver, settings)
