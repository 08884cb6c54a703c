"""How the fields of one kind's bodies are decoded and read, generated from the model.

Foreign producers vary. What the wire format allows is taken as it comes: numbers for texts, one element for a list of
one, references as bare texts or without an id (they make no node: it would merge strangers). Everything else of the
wrong type raises in decoding, so that nothing does in reading.
"""

import re
import time
from collections.abc import Callable
from operator import attrgetter
from typing import Any, cast

import msgspec

from common.envelope import NO_IDS, Envelope
from graphinator.model import EDGES, Edge, Form, edges_of, node_labelled, node_of

EARLIEST_YEAR = 1860
"""The first recordings: what is older is a mistake."""

_LEADING_YEAR = re.compile(r"\s*([0-9]{4})(?![0-9])")

Scalar = str | int | None


class Reading:
    """Decode the bodies of one kind, and read what was decoded, in the order of the model."""

    def __init__(self, kind: str) -> None:
        self.envelope = _envelope_of(kind)
        self._properties = [(attrgetter(each.field), _SCALARS[each.form]) for each in node_of(kind).properties]
        self._edges = [(attrgetter(edge.field), _reader(edge)) for edge in edges_of(kind)]

    def properties(self, fields: Any) -> list[str | int | None]:
        """One value per property."""
        return [read(get(fields)) for get, read in self._properties]

    def edges(self, fields: Any) -> list[list[Any]]:
        """One list of targets per edge."""
        return [read(get(fields)) for get, read in self._edges]


def read_year(value: Scalar, *, latest: int | None = None) -> int | None:
    """The year of `1999`, `1999-03-00` or 1999; None if it is none or lies outside of 1860 to next year."""
    match = _LEADING_YEAR.match(str(value))
    if match is None:
        return None
    year = int(match[1])
    return year if EARLIEST_YEAR <= year <= (latest or time.gmtime().tm_year + 1) else None


def _read_text(value: Scalar) -> str | None:
    return value if isinstance(value, str) or value is None else str(value)


_SCALARS: dict[Form, Callable[[Scalar], str | int | None]] = {Form.TEXT: _read_text, Form.YEAR: read_year}

# `name` is read only to tell a reference from something else that stands alone where a list belongs.
# `Any`: mypy can't see types that are made at run time.
_Reference: Any = msgspec.defstruct(
    "Reference",
    [(name, Scalar, None) for name in sorted({"id", "name"} | {edge.key for edge in EDGES if edge.key})],
    gc=False,
)


def _refuse_no_reference(reference: Any) -> None:
    # Taking it for an empty list would lose edges unseen.
    if reference.id is None and reference.name is None:
        raise ValueError("an object without id and name stands where references belong")


_Lone: Any = msgspec.defstruct(
    "Lone", [], bases=(_Reference,), namespace={"__post_init__": _refuse_no_reference}, gc=False
)
_REFERENCES: Any = list[_Reference | str | int | None] | _Lone | str | int | None
_TYPES: dict[Form, Any] = {
    Form.TEXT: Scalar,
    Form.YEAR: Scalar,
    Form.REFERENCES: _REFERENCES,
    Form.KEYS: list[Scalar] | Scalar,
}


def _envelope_of(kind: str) -> type[Envelope]:
    """The envelope with the fields of a kind's body that the model reads; all others are skipped."""
    types = {each.field: _TYPES[each.form] for each in node_of(kind).properties}
    types |= {edge.field: _TYPES[edge.form] for edge in edges_of(kind)}
    fields = [(field, type_, None) for field, type_ in types.items()]
    made: Any = msgspec.defstruct(kind, fields, bases=(Envelope,), gc=False)
    return cast("type[Envelope]", made)


def _reader(edge: Edge) -> Callable[[Any], list[Any]]:
    """How to read one edge's targets from its field."""
    if edge.form is Form.KEYS:
        return _read_ids if node_labelled(edge.target).key == "id" else _read_names
    if edge.key is None:
        return lambda value: sorted({_text_of(each.id) for each in _references(value)})
    get_key = attrgetter(edge.key)

    def read_pairs(value: Any) -> list[Any]:
        pairs = {(_text_of(each.id), _text_of(get_key(each))) for each in _references(value)}
        return [list(pair) for pair in sorted(pairs)]

    return read_pairs


def _read_ids(value: Any) -> list[Any]:
    return sorted({_text_of(each) for each in _listed(value) if _is_somebody(each)})


def _read_names(value: Any) -> list[Any]:
    return sorted({_text_of(each) for each in _listed(value) if _text_of(each).strip()})


def _references(value: Any) -> list[Any]:
    """The references that have an id."""
    return [each for each in _listed(value) if isinstance(each, _Reference) and _is_somebody(each.id)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_somebody(value: Scalar) -> bool:
    return _text_of(value).strip() not in NO_IDS


def _text_of(value: Scalar) -> str:
    return "" if value is None else str(value)
