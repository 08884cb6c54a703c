"""Who is stored in the graph: ids with their hashes and versions, looked up or scanned; never content.

A stub has no hash: no record has filled it, so it is not stored.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from graphinator.model import MODEL_VERSION, node_of
from graphinator.ops.asking import GraphQuestions
from graphinator.settings import Neo4jSettings
from graphinator.store import open_driver

BEGINNING: Final = ""
"""The place before the first node: keys are texts."""

_CURRENT: Final = f":{MODEL_VERSION}"


class GraphIdentities(GraphQuestions):
    """The ids of one graph."""

    store: Final = "neo4j"

    async def look_up(self, kind: str, ids: Sequence[str]) -> dict[str, tuple[str, str | None, bool]]:
        """What records have filled the nodes of these ids: hash without the model's version, load, and whether that
        version is ours.

        Raises: a SinkError where the graph can't be read.
        """
        node = node_of(kind)
        [row] = await self._ask(
            f"CYPHER 5 UNWIND $ids AS x MATCH (n:{node.label} {{{node.key}: x}}) WHERE n.hash IS NOT NULL "
            f"RETURN collect(n.{node.key}) AS ids, collect(n.hash) AS hashes, collect(coalesce(n.load, '')) AS loads",
            {"ids": list(ids)},
        )
        return {
            key: (hash_.partition(":")[0], load or None, not hash_ or hash_.endswith(_CURRENT))
            for key, hash_, load in zip(row["ids"], row["hashes"], row["loads"], strict=True)
        }

    async def page(self, kind: str, behind: str, size: int) -> tuple[list[tuple[str, str | None]], str]:
        """The next ids that records have filled, with their loads, in the order of the keys, and the last key read.

        Raises: a SinkError where the graph can't be read.
        """
        node = node_of(kind)
        [row] = await self._ask(
            f"CYPHER 5 MATCH (n:{node.label}) WHERE n.{node.key} > $behind WITH n ORDER BY n.{node.key} LIMIT $size "
            f"WITH n.{node.key} AS key, CASE WHEN n.hash IS NULL THEN null ELSE coalesce(n.load, '') END AS load "
            f"RETURN max(key) AS last, collect(CASE WHEN load IS NULL THEN null ELSE [key, load] END) AS filled",
            {"behind": behind, "size": size},
        )
        return [(key, load or None) for key, load in row["filled"]], row["last"] or behind

    async def who(self, kind: str) -> tuple[str, datetime]:
        """What tells this database from every other one, and what time it is there.

        Raises: a SinkError where the graph can't be read.
        """
        [row] = await self._ask("CYPHER 5 CALL db.info() YIELD id, name RETURN id, name, datetime() AS now", {})
        return f"{row['id']} {row['name']}", row["now"].to_native()

    async def estimate(self, kind: str) -> int:
        """How many nodes there are, stubs included, from the store's own count.

        Raises: a SinkError where the graph can't be read.
        """
        [row] = await self._ask(f"CYPHER 5 MATCH (n:{node_of(kind).label}) RETURN count(n) AS count", {})
        return int(row["count"])


@asynccontextmanager
async def open_identities(settings: Neo4jSettings) -> AsyncIterator[GraphIdentities]:
    """Connect for reading; nothing is created, and nothing is waited for.

    Raises: StartRefused where the URI can't be one.
    """
    async with open_driver(settings) as driver:
        yield GraphIdentities(driver, settings)
