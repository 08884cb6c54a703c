"""What the stores must hold after a load, as fingerprints: small enough for several million records in memory.

The records are made or read again from the load's source; nothing here has been through the broker.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator

import msgspec

from extractor.loads import Load, messages
from extractor.tally import Tally
from spindle.verification.expected_graph import OWNED, EdgeName, GraphNode, Record, expected_node


class Fingerprint(msgspec.Struct, frozen=True, gc=False):
    """One record: digests of its content and of its node with its edges, and how many edges of each sort it owns."""

    position: int
    content: bytes
    node: bytes
    edges: tuple[int, ...]


class Expectation:
    """A kind's records of one load by id. If several have the same id, the last one counts: it is stored last."""

    def __init__(self, load: Load, kind: str) -> None:
        self.load = load
        self.kind = kind
        self.published = 0
        self.skipped: dict[str, int] = {}
        """Records that the source has and nobody can read, by reason."""
        self.records: dict[str, Fingerprint] = {}
        tally = Tally()
        for record_id, sha256, record in self._published(tally):
            self._expect(record_id, sha256, record)
        self.skipped = tally.skipped_by_reason()

    def nodes_of(self, ids: set[str]) -> dict[str, GraphNode]:
        """Work out these records' nodes, by reading the load once more."""
        return {
            record_id: expected_node(self.kind, record)
            for record_id, _, record in self._published()
            if record_id in ids
        }

    def edge_counts(self) -> Counter[EdgeName]:
        """How many edges of each sort these records own together."""
        totals = [0] * len(OWNED[self.kind])
        for fingerprint in self.records.values():
            for position, count in enumerate(fingerprint.edges):
                totals[position] += count
        return Counter(dict(zip(OWNED[self.kind], totals, strict=True)))

    def _published(self, tally: Tally | None = None) -> Iterator[tuple[str, str, Record]]:
        for message in messages(self.load, self.kind, tally):
            yield message.id, message.sha256, msgspec.json.decode(message.body)

    def _expect(self, record_id: str, sha256: str, record: Record) -> None:
        self.published += 1
        node = expected_node(self.kind, record)
        earlier = self.records.get(record_id)
        self.records[record_id] = Fingerprint(
            earlier.position if earlier else len(self.records),
            bytes.fromhex(sha256),
            node_digest(node),
            tuple(map(len, node.edges)),
        )


class Roll:
    """Which of the expected records have been found: a byte each."""

    def __init__(self, expectation: Expectation) -> None:
        self._records = expectation.records
        self._found = bytearray(len(expectation.records))

    def tick_off(self, fingerprint: Fingerprint) -> None:
        """Note that this record is there."""
        self._found[fingerprint.position] = 1

    def missing(self) -> Iterator[str]:
        """The ids that were not ticked off."""
        return (record_id for record_id, fingerprint in self._records.items() if not self._found[fingerprint.position])


def content_digest(record: Record) -> bytes:
    """The hash of the wire format, taken again of a record without its envelope."""
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).digest()


def node_digest(node: GraphNode) -> bytes:
    """A digest of properties and edges; 16 bytes, for no one attacks it."""
    canonical = json.dumps([node.properties, node.edges], sort_keys=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).digest()
