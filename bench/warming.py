"""A warm Neo4j: a JVM's first transactions take seconds, and its first thousands a multiple of what they take later."""

from bench.graph_store import Graph
from bench.stage import Stage

_RECORDS = 3000


async def warm(graph: Graph, stage: Stage) -> None:
    """Store some releases and remove them again."""
    await graph.empty()
    await graph.fill(stage.releases[:_RECORDS], load=stage.load.date)
    await graph.empty()
