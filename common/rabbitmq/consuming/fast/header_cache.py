"""Recognise headers instead of decoding them for each message.

Of one load's messages all headers are the same but the time of publishing, so the bytes around those eight are learned
from one message and recognised in the next.
"""

import struct
from collections import deque
from typing import NamedTuple

from common.rabbitmq.consuming.fast.headers import (
    HEADERS,
    MORE_FLAGS,
    PROPERTIES_AT,
    Facts,
    facts_of,
    flags_of,
    table_of,
)

STAMP = struct.Struct(">q")
"""Milliseconds, as the header `timestamp_in_ms` has them."""

_STAMP_NAME = b"\x0ftimestamp_in_msl"
_PROOFS = (0x0123456789ABCDEF, -2)
_SHAPES = 4  # fresh and returned messages of two loads
_PATIENCE = 16  # messages in a row that teach nothing of use
_LARGEST = 4096  # bytes; comparing more than this costs more than it saves


class Shape(NamedTuple):
    """The bytes that many content headers have in common, and what they say."""

    flags: int
    prefix: bytes
    """The properties up to the eight bytes of the time, or up to the table's end if there is no time."""
    suffix: bytes
    """From there to the table's end."""
    size: int
    """Bytes of it all."""
    is_stamped: bool
    facts: Facts

    def read(self, payload: bytes) -> Facts | None:
        """What a content header of this shape says; None if it has another one."""
        if (
            len(payload) < PROPERTIES_AT + self.size
            or flags_of(payload) != self.flags
            or not payload.startswith(self.prefix, PROPERTIES_AT)
        ):
            return None
        if not self.is_stamped:
            return self.facts
        stamp_at = PROPERTIES_AT + len(self.prefix)
        if not payload.startswith(self.suffix, stamp_at + STAMP.size):
            return None
        return self.facts._replace(published_ms=STAMP.unpack_from(payload, stamp_at)[0])


class Shapes:
    """What content headers have looked like so far on one connection."""

    def __init__(self) -> None:
        self.latest = Shape(0, b"", b"", 0, is_stamped=False, facts=Facts())
        """The last one recognised or learned: the hot path compares with it before it asks for `read`."""
        self._known: deque[Shape] = deque(maxlen=_SHAPES)
        self._strangers = 0

    def read(self, payload: bytes) -> Facts:
        """Read the facts from a content header, whatever it looks like."""
        for shape in self._known:
            facts = shape.read(payload)
            if facts is not None:
                self.latest, self._strangers = shape, 0
                return facts
        # Headers that differ from message to message teach nothing: after a while only now and then one is tried.
        self._strangers += 1
        if self._strangers <= _PATIENCE or self._strangers % _PATIENCE == 0:
            learned = shape_of(payload)
            if learned is not None:
                self._known.appendleft(learned)
                self.latest = learned
        return facts_of(payload)


def shape_of(payload: bytes) -> Shape | None:
    """Learn what other content headers may have in common with this one; None if that can't be said for sure."""
    flags, (start, end) = flags_of(payload), table_of(payload)
    if flags & MORE_FLAGS or end - PROPERTIES_AT > _LARGEST:
        return None
    facts = facts_of(payload)
    if start == end:
        # A table that is announced and can't be found teaches nothing.
        return None if flags & HEADERS else Shape(flags, b"", b"", 0, is_stamped=False, facts=facts)
    name_at = payload.find(_STAMP_NAME, start, end)
    stamp_at = name_at + len(_STAMP_NAME)
    if name_at < 0 or stamp_at + STAMP.size > end:
        prefix = payload[PROPERTIES_AT:end]
        return Shape(flags, prefix, b"", len(prefix), is_stamped=False, facts=facts)
    prefix, suffix = payload[PROPERTIES_AT:stamp_at], payload[stamp_at + STAMP.size : end]
    shape = Shape(flags, prefix, suffix, end - PROPERTIES_AT, is_stamped=True, facts=facts)
    return shape if _is_proven(shape, payload[:PROPERTIES_AT]) else None


def _is_proven(shape: Shape, start: bytes) -> bool:
    """Whether those eight bytes are the time: in the middle of another header's text they would not be."""
    return all(
        facts_of(b"".join((start, shape.prefix, STAMP.pack(proof), shape.suffix)))
        == shape.facts._replace(published_ms=proof)
        for proof in _PROOFS
    )
