"""What the statements of a kind are given: flat lists to ask with, nested lists to write with."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from graphinator.model import edges_of, node_of, targets_of
from graphinator.projection import GraphRecord


def identities(records: Sequence[GraphRecord]) -> dict[str, Any]:
    """For `look_up` and `lock`: who the records are, in lists of equal length."""
    return {
        "ids": [record.id for record in records],
        "hashes": [record.hash for record in records],
        "loads": [record.version for record in records],
    }


def row_of(record: GraphRecord) -> list[Any]:
    """For `write`: key, hash, load, properties, and a list of targets per edge, in the order of the model."""
    return [record.id, record.hash, record.version, *record.properties, *record.edges]


class Targets:
    """For `lock`: the keys of all nodes that a batch's edges lead to, by label, each once and sorted.

    Sorted, because two transactions that make the same nodes in the same order wait for each other only one way.
    """

    def __init__(self, kind: str) -> None:
        self._own = node_of(kind).label
        keyed = [edge.key is not None for edge in edges_of(kind)]
        self._columns = [
            (node.label, [(position, keyed[position]) for position in positions])
            for node, positions in targets_of(kind)
        ]

    def of(self, records: Sequence[GraphRecord]) -> dict[str, list[str]]:
        """List the targets of these records; a kind that refers to itself has its own ids among them."""
        keys: dict[str, list[str]] = {}
        for label, columns in self._columns:
            found = {record.id for record in records} if label == self._own else set()
            for position, keyed in columns:
                targets = chain.from_iterable(record.edges[position] for record in records)
                found.update((target[0] for target in targets) if keyed else targets)
            keys[label] = sorted(found)
        return keys
