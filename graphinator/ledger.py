"""The ledger as nodes beside the graph: their labels and keys.

They are no part of the model: no record fills them, no edge leads to one, and whoever counts the graph leaves them out.
"""

from graphinator.model import Node

LOAD = Node("SpindleLoad", key="key")
PROGRESS = Node("SpindleProgress", key="key")
PAUSE = Node("SpindlePause", key="key")
REMOVED = Node("SpindleRemoved", key="key")
LOAD_ERRORS = Node("SpindleErrors", key="key")

LEDGER = (LOAD, PAUSE, PROGRESS, REMOVED, LOAD_ERRORS)

# From the store's own counts, whatever the size.
COUNT = "CYPHER 5 MATCH (n) RETURN count(n) AS nodes" + "".join(
    f" UNION ALL MATCH (n:{node.label}) RETURN -count(n) AS nodes" for node in LEDGER
)
"""Rows whose sum is the number of the graph's own nodes."""


def key_of(load: str, kind: str) -> str:
    """The key of a load of a kind."""
    return f"{load} {kind}"
