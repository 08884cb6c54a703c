"""The statements of the ways into Neo4j that others take, made from the names of the edges."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import LiteralString

from bench.graph_records import EDGES, Carried, other_end
from spindle.verification.expected_graph import EdgeName

RELEASES: LiteralString = "UNWIND $rows AS row MERGE (n:Release {id: row.id}) SET n += row.properties"
"""For `$rows` of id and properties."""

_PROPERTIES = {
    "title": "row.title",
    "year": "toInteger(row.year)",
    "released": "row.released",
    "country": "row.country",
}
_EDGE_PROPERTIES = {"ON": "catno", "CREDITED_ON": "role"}
# Within a field of the CSV: control characters, because names hold everything else.
_ITEM, _PART = "\x1e", "\x1f"
_ROWS = 500  # a transaction, as everywhere else


def edge_statement(edge: EdgeName) -> LiteralString:
    """MERGE one sort of edges, and what they lead to, from `$rows` of id, end and by."""
    return (
        f"UNWIND $rows AS row MATCH (n:Release {{id: row.id}}) MERGE {_target(edge, 'row.end')} "
        f"MERGE {_arrow(edge, 'row.by')}"
    )


def load_csv_statement(file: Path) -> LiteralString:
    """Load a file of `write_csv`: one file and one pass, the fastest way that we know."""
    properties = {"hash": "row.hash", "load": "row.load", **_PROPERTIES}
    return (
        f"LOAD CSV WITH HEADERS FROM 'file://{file}' AS row CALL (row) {{ MERGE (n:Release {{id: row.id}}) "
        f"SET {', '.join(f'n.{name} = {value}' for name, value in properties.items())} "
        f"WITH n, row {' '.join(_load_edges(edge, f'row.{_column(edge)}') for edge in EDGES)} }} "
        f"IN TRANSACTIONS OF {_ROWS} ROWS"
    )


def load_csv_statements(folder: Path) -> list[LiteralString]:
    """Load the files of `write_csv_files` one after the other: the releases, then each sort of edge."""
    properties = {"hash": "row.hash", "load": "row.load", **_PROPERTIES}
    settings = ", ".join(f"n.{name} = {value}" for name, value in properties.items())
    by = "coalesce(row.by, '')"  # an empty field is null
    steps: list[LiteralString] = [f"MERGE (n:Release {{id: row.id}}) SET {settings}"]
    steps += [
        f"MATCH (n:Release {{id: row.id}}) MERGE {_target(edge, 'row.end')} MERGE {_arrow(edge, by)}" for edge in EDGES
    ]
    return [
        f"LOAD CSV WITH HEADERS FROM 'file://{folder / f'{place}.csv'}' AS row CALL (row) {{ {step} }} "
        f"IN TRANSACTIONS OF {_ROWS} ROWS"
        for place, step in enumerate(steps)
    ]


def write_csv_files(folder: Path, carried: Carried, *, load: str) -> None:
    """Write a file of the releases without their edges, and one per sort of edge with a line for each edge."""
    folder.mkdir(exist_ok=True)
    write_csv(folder / "0.csv", carried, load=load, edges=())
    for place in range(len(EDGES)):
        with (folder / f"{place + 1}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "end", "by"])
            for message, node in zip(carried.messages, carried.nodes, strict=True):
                writer.writerows([message.id, _escaped(end), _escaped(by)] for end, by in node.edges[place])


def write_csv(path: Path, carried: Carried, *, load: str, edges: Sequence[EdgeName] = EDGES) -> None:
    """Write records a line each; a sort of edges, all its ends, in one field, without which there is null."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "hash", "load", *_PROPERTIES, *map(_column, edges)])
        for message, node in zip(carried.messages, carried.nodes, strict=True):
            properties = [node.properties.get(name, "") for name in _PROPERTIES]
            ends = [_ITEM.join(_PART.join(end) for end in each) for each in node.edges[: len(edges)]]
            writer.writerow(map(_escaped, [message.id, message.sha256, load, *properties, *ends]))


def _load_edges(edge: EdgeName, field: str) -> str:
    return (
        f"CALL (n, row) {{ UNWIND split({field}, '\\u001e') AS item WITH n, split(item, '\\u001f') AS x "
        f"MERGE {_target(edge, 'x[0]')} MERGE {_arrow(edge, 'x[1]')} }}"
    )


def _escaped(value: str | int) -> str | int:
    """Neo4j takes a backslash before anything, quotes too, as in C."""
    return value.replace("\\", "\\\\") if isinstance(value, str) else value


def _column(edge: EdgeName) -> str:
    return f"{edge[1]}_{other_end(edge)}".lower()


def _target(edge: EdgeName, key: str) -> str:
    label = other_end(edge)
    return f"(t:{label} {{{'name' if label in ('Genre', 'Style') else 'id'}: {key}}})"


def _arrow(edge: EdgeName, by: str) -> str:
    name = _EDGE_PROPERTIES.get(edge[1])
    relation = f"[:{edge[1]}{f' {{{name}: {by}}}' if name else ''}]"
    return f"(n)-{relation}->(t)" if edge[0] == "Release" else f"(t)-{relation}->(n)"
