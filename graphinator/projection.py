"""From a message's body to what the graph takes of it, in one typed decoding generated from the model.

Decoding tells whether a record can be taken, and the runtime dead-letters what can't be. What it says is read once the
graph asks for it: most records of a load are unchanged, and to read one takes longer than to decode it.
"""

from typing import Any

import msgspec

from common.delivery import Delivery
from common.envelope import Projection
from graphinator.fields import Reading
from graphinator.model import MODEL_VERSION


class GraphRecord(msgspec.Struct, frozen=True):
    """One record as the graph takes it; `properties` and `edges` in the order of the model.

    `hash` is the producer's and the model's version together, empty if the producer gave none. `edges` has a list
    per edge of the model: of targets' keys, or of [target, key] if the edge has a key; sorted, each once.
    """

    id: str
    hash: str
    version: str | None
    properties: list[str | int | None]
    edges: list[list[Any]]


class DecodedRecord(msgspec.Struct, frozen=True):
    """Who a record is, and the fields from which `read` makes the rest."""

    id: str
    hash: str
    version: str | None
    fields: Any
    reading: Reading


Unread = GraphRecord | DecodedRecord
"""What a sink is given: a record that is read, or one that will be if it needs work."""


def projection_of(kind: str) -> Projection[DecodedRecord]:
    """Make the projection of one kind."""
    reading = Reading(kind)

    def project(fields: Any, delivery: Delivery, record_id: str) -> DecodedRecord:
        return DecodedRecord(record_id, stored_hash(fields.sha256), delivery.load, fields, reading)

    return Projection(project, envelope=reading.envelope)


def read(record: Unread) -> GraphRecord:
    """Read all of a record."""
    if isinstance(record, GraphRecord):
        return record
    properties, edges = record.reading.properties(record.fields), record.reading.edges(record.fields)
    return GraphRecord(record.id, record.hash, record.version, properties, edges)


def stored_hash(sha256: object, *, model_version: int = MODEL_VERSION) -> str:
    """The hash that is stored and compared: another model's graph of the same record is another graph."""
    return f"{sha256}:{model_version}" if isinstance(sha256, str) and sha256 else ""
