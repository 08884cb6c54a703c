"""What the graph must hold of a record, worked out in plain Python from the record itself.

On purpose not from graphinator's model: a model that verified itself would find its own mistakes correct. The rules are
those of docs/neo4j.md once more, as readable as they can be.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
EdgeName = tuple[str, str, str]
"""The label where it starts, its type, the label where it ends."""

Far = tuple[str, str]
"""One edge, as its owner sees it: the other end's key, and the edge's own property (catno, role), "" without one."""

LABELS = {"artists": "Artist", "labels": "Label", "masters": "Master", "releases": "Release"}

OWNED: dict[str, tuple[EdgeName, ...]] = {
    "artists": (("Artist", "MEMBER_OF", "Artist"), ("Artist", "ALIAS_OF", "Artist")),
    "labels": (("Label", "SUBLABEL_OF", "Label"),),
    "masters": (("Master", "BY", "Artist"), ("Master", "IS", "Genre"), ("Master", "IS", "Style")),
    "releases": (
        ("Release", "BY", "Artist"),
        ("Release", "ON", "Label"),
        ("Release", "DERIVED_FROM", "Master"),
        ("Release", "IS", "Genre"),
        ("Release", "IS", "Style"),
        ("Artist", "CREDITED_ON", "Release"),
    ),
}
"""Which edges a kind's records own, in the order in which `GraphNode.edges` has them."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A record as a node: its properties without `hash` and `load`, and all edges that it owns, each list sorted."""

    properties: dict[str, str | int]
    edges: tuple[list[Far], ...]


def expected_node(kind: str, record: Record) -> GraphNode:
    """Work out what the graph must hold of a record in the wire format's shape."""
    return _NODES[kind](record)


def _artist(record: Record) -> GraphNode:
    return GraphNode(
        _present(name=record.get("name"), realname=record.get("realname")),
        (_references(record.get("groups")), _references(record.get("aliases"))),
    )


def _label(record: Record) -> GraphNode:
    return GraphNode(_present(name=record.get("name")), (_references(record.get("parentLabel")),))


def _master(record: Record) -> GraphNode:
    return GraphNode(
        _present(title=record.get("title"), year=_year(record.get("year"))),
        (_references(record.get("artists")), _names(record.get("genres")), _names(record.get("styles"))),
    )


def _release(record: Record) -> GraphNode:
    released = record.get("released")
    return GraphNode(
        _present(title=record.get("title"), year=_year(released), released=released, country=record.get("country")),
        (
            _references(record.get("artists")),
            _references(record.get("labels"), by="catno"),
            _edges([(record.get("master_id"), "")]),
            _names(record.get("genres")),
            _names(record.get("styles")),
            _references(record.get("extraartists"), by="role"),
        ),
    )


_NODES: dict[str, Callable[[Record], GraphNode]] = {
    "artists": _artist,
    "labels": _label,
    "masters": _master,
    "releases": _release,
}


def _present(**properties: str | int | None) -> dict[str, str | int]:
    """Neo4j has no null properties."""
    return {name: value for name, value in properties.items() if value is not None}


def _year(date: str | None) -> int | None:
    """1999 of `1999` and `1999-03-00`; nothing of `0000`, of `199`, or from before the first recordings."""
    found = re.match(r"\s*([0-9]{4})(?![0-9])", date or "")
    year = int(found[1]) if found else 0
    return year if 1860 <= year <= time.gmtime().tm_year + 1 else None


def _references(field: Any, *, by: str | None = None) -> list[Far]:
    """One edge per other end, and per value of `by`; who has no id is nobody."""
    listed = field if isinstance(field, list) else [field]
    return _edges((each.get("id"), (each.get(by) or "") if by else "") for each in listed if isinstance(each, dict))


def _edges(ends: Iterable[tuple[str | None, str]]) -> list[Far]:
    return sorted({(other, by) for other, by in ends if other is not None and other.strip() not in ("", "0")})


def _names(field: list[str] | None) -> list[Far]:
    """Genres and styles are known by their names alone, and `0` would be one."""
    return sorted({(name, "") for name in field or () if name.strip()})
