"""What becomes of a message here: one row, the body as it came."""

import msgspec

from common.delivery import Delivery
from common.envelope import Envelope, Projection


class Row(msgspec.Struct, gc=False):
    """One record on its way into its kind's table.

    `hash` is empty if the producer sent none; `body` is the whole message, JSON in UTF-8.
    """

    id: str
    hash: str
    version: str | None
    body: bytes


def row_of(envelope: Envelope, delivery: Delivery, record_id: str) -> Row:
    """Make the row of a message. The body is not parsed again: the server does that, once, and only if it must."""
    sha256 = envelope.sha256
    return Row(record_id, sha256 if isinstance(sha256, str) else "", delivery.load or None, delivery.body)


PROJECTION = Projection(row_of)
