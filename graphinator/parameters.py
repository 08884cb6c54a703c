"""What the statements of a kind are given: flat lists, because packing maps costs the client more than the rest."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from graphinator.model import edges_of, node_of, targets_of
from graphinator.projection import GraphRecord, Unread


def identities(records: Sequence[Unread]) -> dict[str, Any]:
    """For `look_up` and `store`: who the records are, in lists of equal length."""
    return {
        "ids": [record.id for record in records],
        "hashes": [record.hash for record in records],
        "loads": [record.version for record in records],
    }


# Without a hash nothing is unchanged, without a load nothing is stale.
def forced(records: Sequence[GraphRecord]) -> dict[str, Any]:
    """For `store` instead of `identities`: write them whatever is stored."""
    return {
        "ids": [record.id for record in records],
        "hashes": [""] * len(records),
        "loads": [None] * len(records),
    }


def rows(records: Sequence[GraphRecord]) -> dict[str, Any]:
    """For `store`: key, hash, load and properties of each record, in the order of the model."""
    return {"rows": [[record.id, record.hash, record.version, *record.properties] for record in records]}


class Ends:
    """For `store`: the edges of one kind's records, as positions in the records and in the lists of their targets."""

    def __init__(self, kind: str) -> None:
        self._own = node_of(kind).label
        self._edges = edges_of(kind)
        self._targets = [(node.label, positions) for node, positions in targets_of(kind)]

    def of(self, records: Sequence[GraphRecord]) -> dict[str, Any]:
        """List the targets by label, and per edge of the model `from`, `to` and `by` if it has a key."""
        parameters: dict[str, Any] = {}
        for label, positions in self._targets:
            keys = parameters[label] = self._keys(label, positions, records)
            place_of = {key: place for place, key in enumerate(keys)}
            for position in positions:
                parameters |= self._pairs(position, place_of, records)
        return parameters

    def _keys(self, label: str, positions: Sequence[int], records: Sequence[GraphRecord]) -> list[str]:
        """Each key once; a kind that refers to itself has its own ids among them.

        Sorted, because two transactions that make the same nodes in the same order wait for each other only one way.
        """
        found = {record.id for record in records} if label == self._own else set()
        for position in positions:
            targets = chain.from_iterable(record.edges[position] for record in records)
            found.update(targets if self._edges[position].key is None else (key for key, _ in targets))
        return sorted(found)

    def _pairs(self, position: int, place_of: dict[str, int], records: Sequence[GraphRecord]) -> dict[str, Any]:
        targets = list(chain.from_iterable(record.edges[position] for record in records))
        pairs: dict[str, Any] = {
            f"from{position}": [at for at, record in enumerate(records) for _ in record.edges[position]]
        }
        if self._edges[position].key is None:
            return pairs | {f"to{position}": [place_of[key] for key in targets]}
        return pairs | {
            f"to{position}": [place_of[key] for key, _ in targets],
            f"by{position}": [by for _, by in targets],
        }
