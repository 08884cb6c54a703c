"""What the graph arms carry, and what the graph must hold afterwards."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from extractor.message import Message, to_message
from spindle.verification.expected_graph import OWNED, EdgeName, GraphNode, expected_node

KIND = "releases"
EDGES = OWNED[KIND]
"""The names of a release's edges, in the order of `GraphNode.edges`."""
_ENVELOPE = ("type", "sha256")


@dataclass(frozen=True)
class Carried:
    """Records as messages, and as the nodes and edges that they make: worked out by the rules that verify a graph."""

    messages: Sequence[Message]
    nodes: list[GraphNode] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "nodes", [expected_node(KIND, msgspec.json.decode(each.body)) for each in self.messages]
        )

    def __len__(self) -> int:
        return len(self.messages)

    def first(self, count: int) -> "Carried":
        """The first so many of them."""
        return Carried(self.messages[:count])

    @cached_property
    def edge_counts(self) -> Counter[EdgeName]:
        """How many edges of each sort there are."""
        counts = Counter({name: sum(len(node.edges[at]) for node in self.nodes) for at, name in enumerate(EDGES)})
        return +counts

    @cached_property
    def node_counts(self) -> Counter[str]:
        """How many nodes of each label there are: the records, and what they name."""
        found: dict[str, set[str]] = {}
        for node in self.nodes:
            for name, ends in zip(EDGES, node.edges, strict=True):
                found.setdefault(other_end(name), set()).update(key for key, _ in ends)
        counts = Counter({label: len(keys) for label, keys in found.items()})
        counts["Release"] = len({message.id for message in self.messages})
        return +counts


def other_end(name: EdgeName) -> str:
    """The label that a release's edge leads to, or comes from."""
    return name[2] if name[0] == "Release" else name[0]


def without_credits(messages: Sequence[Message]) -> list[Message]:
    """The same records without `extraartists`: BY, ON, IS and DERIVED_FROM are all that is left of their edges."""
    return [_without(message, "extraartists") for message in messages]


def _without(message: Message, key: str) -> Message:
    record = msgspec.json.decode(message.body)
    return to_message(message.kind, {name: value for name, value in record.items() if name not in (key, *_ENVELOPE)})
