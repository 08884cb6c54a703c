"""The graph as data: which nodes there are, what they carry, and which record owns which edge.

Statements, projection and reading are generated from these tables: a new kind, property or edge is a row here, and a
reader in `fields.py` only if its field has a form that no other has. Every edge has exactly one owner, the record
that names it, so that a changed record can replace its own edges and touch no other's. Mirrored fields (`members`,
`sublabels`) are left to the other side.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

MODEL_VERSION = 1
"""Part of every stored hash: raising it rewrites every record at its next arrival."""


class Form(StrEnum):
    """How a field is to be read."""

    TEXT = "text"
    YEAR = "year"  # of a year or a date; null if it is none
    REFERENCES = "references"  # one or several objects with an id
    KEYS = "keys"  # one or several targets' keys themselves


@dataclass(frozen=True, slots=True)
class Property:
    """A scalar on a node, from a field of the record."""

    name: str
    field: str
    form: Form = Form.TEXT


@dataclass(frozen=True, slots=True)
class Node:
    """A label with its unique key. `kind` is what records fill it; None if only edges make such nodes.

    `hash` and `load` are on every node that a record has filled; one without `hash` is a stub.
    """

    label: str
    key: str = "id"
    kind: str | None = None
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """A relationship between the owner's node and a target, from a field of the owner's record.

    `key`: the property that, with the target, is the edge's identity; read from the reference's field of that name.
    `outgoing`: whether it leads from the owner to the target.
    """

    owner: str
    type: str
    target: str
    field: str
    form: Form = Form.REFERENCES
    key: str | None = None
    outgoing: bool = True


# In the order of the labels, which is the order in which every transaction locks: two kinds never wait crosswise.
NODES = (
    Node("Artist", kind="artists", properties=(Property("name", "name"), Property("realname", "realname"))),
    Node("Genre", key="name"),
    Node("Label", kind="labels", properties=(Property("name", "name"),)),
    Node("Master", kind="masters", properties=(Property("title", "title"), Property("year", "year", Form.YEAR))),
    Node(
        "Release",
        kind="releases",
        properties=(
            Property("title", "title"),
            Property("year", "released", Form.YEAR),
            Property("released", "released"),
            Property("country", "country"),
        ),
    ),
    Node("Style", key="name"),
)

EDGES = (
    Edge("Artist", "ALIAS_OF", "Artist", "aliases"),
    Edge("Artist", "MEMBER_OF", "Artist", "groups"),
    Edge("Label", "SUBLABEL_OF", "Label", "parentLabel"),
    Edge("Master", "BY", "Artist", "artists"),
    Edge("Master", "IS", "Genre", "genres", Form.KEYS),
    Edge("Master", "IS", "Style", "styles", Form.KEYS),
    Edge("Release", "BY", "Artist", "artists"),
    Edge("Release", "CREDITED_ON", "Artist", "extraartists", key="role", outgoing=False),
    Edge("Release", "DERIVED_FROM", "Master", "master_id", Form.KEYS),
    Edge("Release", "IS", "Genre", "genres", Form.KEYS),
    Edge("Release", "IS", "Style", "styles", Form.KEYS),
    Edge("Release", "ON", "Label", "labels", key="catno"),
)


def node_of(kind: str) -> Node:
    """The node that a kind's records fill."""
    return next(node for node in NODES if node.kind == kind)


def node_labelled(label: str) -> Node:
    """The node with this label."""
    return next(node for node in NODES if node.label == label)


def edges_of(kind: str) -> tuple[Edge, ...]:
    """The edges that a kind's records own, in the order in which a record lists them."""
    label = node_of(kind).label
    return tuple(edge for edge in EDGES if edge.owner == label)


def targets_of(kind: str) -> Iterator[tuple[Node, list[int]]]:
    """Each node that a kind's edges lead to, in the order of `NODES`, with the positions of those edges."""
    edges = edges_of(kind)
    for node in NODES:
        positions = [position for position, edge in enumerate(edges) if edge.target == node.label]
        if positions:
            yield node, positions
