"""What the stores must hold after a load, as fingerprints in a temporary file: 76 bytes a record, and none in memory.

The records are made or read again from the load's source; nothing here has been through the broker. Of several records
with one id the last counts, because it is stored last. Those ids, and ids that are no numbers, are few, and kept in
memory.
"""

import hashlib
import json
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from extractor.loads import Load, messages
from extractor.tally import Tally
from spindle.checking.classes import number_of
from spindle.checking.id_set import IdSet
from spindle.verification.expected_graph import OWNED, EdgeName, GraphNode, Record, expected_node

CHUNK: Final = 500
"""Records that a store is asked for together."""

_EDGES: Final = max(map(len, OWNED.values()))
_ROW: Final = struct.Struct(f">I32s16s{_EDGES}I")


class Fingerprint(msgspec.Struct, frozen=True, gc=False):
    """One record: digests of its content and of its node with its edges, and how many edges of each sort it owns."""

    content: bytes
    node: bytes
    edges: tuple[int, ...]


class Expectation:
    """A kind's records of one load, each id once."""

    def __init__(self, load: Load, kind: str) -> None:
        self.load = load
        self.kind = kind
        self.published = 0
        self.skipped: dict[str, int] = {}
        """Records that the source has and nobody can read, by reason."""
        self.edges: Counter[EdgeName] = Counter()
        """How many edges of each sort these records own together."""
        self._ids = IdSet()
        self._apart: dict[str, Fingerprint] = {}
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed when nobody holds it any more)
        tally = Tally()
        for record_id, sha256, record in self._published(tally):
            self._expect(record_id, sha256, record)
        self.skipped = tally.skipped_by_reason()
        for _, fingerprint in self._all():
            for name, count in zip(OWNED[kind], fingerprint.edges, strict=True):
                self.edges[name] += count

    def __len__(self) -> int:
        return len(self._ids) + sum(number_of(record_id) is None for record_id in self._apart)

    def __contains__(self, record_id: str) -> bool:
        number = number_of(record_id)
        return record_id in self._apart if number is None else number in self._ids

    def chunks(self) -> Iterator[dict[str, Fingerprint]]:
        """All of them by id, a few at a time."""
        chunk: dict[str, Fingerprint] = {}
        for record_id, fingerprint in self._all():
            chunk[record_id] = fingerprint
            if len(chunk) == CHUNK:
                yield chunk
                chunk = {}
        if chunk:
            yield chunk

    def nodes_of(self, ids: set[str]) -> dict[str, GraphNode]:
        """Work out these records' nodes, by reading the load once more."""
        return {
            record_id: expected_node(self.kind, record)
            for record_id, _, record in self._published()
            if record_id in ids
        }

    def _published(self, tally: Tally | None = None) -> Iterator[tuple[str, str, Record]]:
        for message in messages(self.load, self.kind, tally):
            yield message.id, message.sha256, msgspec.json.decode(message.body)

    def _expect(self, record_id: str, sha256: str, record: Record) -> None:
        self.published += 1
        node = expected_node(self.kind, record)
        fingerprint = Fingerprint(bytes.fromhex(sha256), node_digest(node), tuple(map(len, node.edges)))
        number = number_of(record_id)
        if number is None or not self._ids.add(number):
            self._apart[record_id] = fingerprint
            return
        edges = (*fingerprint.edges, *(0 for _ in range(_EDGES - len(fingerprint.edges))))
        self._file.write(_ROW.pack(number, fingerprint.content, fingerprint.node, *edges))

    def _all(self) -> Iterator[tuple[str, Fingerprint]]:
        yield from self._in_file()
        yield from self._apart.items()

    def _in_file(self) -> Iterator[tuple[str, Fingerprint]]:
        self._file.seek(0)
        edges = len(OWNED[self.kind])
        while piece := self._file.read(CHUNK * _ROW.size):
            for number, content, node, *counts in _ROW.iter_unpack(piece):
                record_id = str(number)
                if record_id not in self._apart:
                    yield record_id, Fingerprint(content, node, tuple(counts[:edges]))


def content_digest(record: Record) -> bytes:
    """The hash of the wire format, taken again of a record without its envelope."""
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).digest()


def node_digest(node: GraphNode) -> bytes:
    """A digest of properties and edges; 16 bytes, for no one attacks it."""
    canonical = json.dumps([node.properties, node.edges], sort_keys=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).digest()
