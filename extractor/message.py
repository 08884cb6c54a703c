"""A record as the message that goes to the broker: hash, envelope and JSON bytes.

The hash covers the record alone, its own `id` included. Its bytes are those of `json.dumps(record, sort_keys=True,
separators=(",", ":"), ensure_ascii=False)`, which foreign producers use; msgspec writes the same bytes several times
faster, and a property test holds the two together.
"""

import hashlib
from typing import Any

import msgspec

Record = dict[str, Any]
"""One record in the shape of the wire format: scalars are strings or None, containers are dicts and lists."""

ENVELOPE = ("type", "sha256")
"""What a message says beside its record: no record may have keys of these names."""

_encode = msgspec.json.Encoder(order="sorted").encode
_encode_as_it_is = msgspec.json.Encoder().encode


class Message(msgspec.Struct, frozen=True, gc=False):
    """One data message; `body` is what the broker carries, `sha256` is in it too."""

    kind: str
    id: str
    body: bytes
    sha256: str

    @property
    def message_id(self) -> str:
        """The AMQP message id: `kind:id`."""
        return f"{self.kind}:{self.id}"


def canonical_json(record: Record) -> bytes:
    """Encode a record the way its hash is taken of.

    Raises: UnicodeEncodeError for a lone surrogate, which no UTF-8 can carry.
    """
    return _encode(record)


def to_message(kind: str, record: Record) -> Message:
    """Wrap a record, which must have its `id`, into its message."""
    canonical = canonical_json(record)
    sha256 = hashlib.sha256(canonical).hexdigest()
    record_id: str = record["id"]
    envelope = _encode_as_it_is({"type": "data", "id": record_id, "sha256": sha256})
    rest = _encode({key: value for key, value in record.items() if key != "id"})
    body = envelope if len(rest) == 2 else envelope[:-1] + b"," + rest[1:]
    return Message(kind, record_id, body, sha256)
