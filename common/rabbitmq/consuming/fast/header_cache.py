"""Recognise headers instead of decoding them for each message.

Three of a message's headers say something to us, and of these only the time of publishing differs from one message of a
load to the next. Whatever else may differ (a trace, a number) stands in the same place as long as it is as long. So the
bytes around all of that are learned from one message and recognised in the next.
"""

import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from common.rabbitmq.consuming.fast.headers import (
    HEADERS,
    LENGTH,
    MORE_FLAGS,
    PROPERTIES_AT,
    Facts,
    facts_of,
    flags_of,
    table_of,
)
from common.rabbitmq.field_tables import Entry, entries

STAMP = struct.Struct(">q")
"""Milliseconds, as the header `timestamp_in_ms` has them."""

_STAMP_NAME, _STAMP_TYPES = b"timestamp_in_ms", b"lL"
_READ = (b"load", _STAMP_NAME, b"x-delivery-count")
_PROOFS = (0x0123456789ABCDEF, -2)
_SHAPES = 4  # fresh and returned messages of two loads
_PATIENCE = 16  # strangers, above the number recognised, that are learned; from then on one in so many is
_LARGEST = 4096  # bytes; comparing more than this costs more than it saves

Unpack = Callable[[bytes, int], tuple[Any, ...]]


class Shape(NamedTuple):
    """The bytes that many content headers have in common, and what they say."""

    flags: int
    fixed_of: Unpack
    """Takes those bytes from a content header, beginning at its properties; it must be long enough."""
    fixed: tuple[bytes, ...]
    size: int
    """Bytes of the properties up to the table's end."""
    stamp_at: int
    """Where in the content header the eight bytes of the time stand; 0 if there is no time."""
    facts: Facts

    def read(self, payload: bytes) -> Facts | None:
        """What a content header of this shape says; None if it has another one."""
        if (
            len(payload) < PROPERTIES_AT + self.size
            or flags_of(payload) != self.flags
            or self.fixed_of(payload, PROPERTIES_AT) != self.fixed
        ):
            return None
        if not self.stamp_at:
            return self.facts
        return self.facts._replace(published_ms=STAMP.unpack_from(payload, self.stamp_at)[0])


class Shapes:
    """What content headers have looked like so far on one connection."""

    def __init__(self) -> None:
        self.latest = Shape(0, struct.Struct("").unpack_from, (), 0, 0, Facts())
        """The last one recognised or learned: the hot path compares with it before it asks for `read`."""
        self._known: deque[Shape] = deque(maxlen=_SHAPES)
        self._patience = _PATIENCE

    def read(self, payload: bytes) -> Facts:
        """Read the facts from a content header, whatever it looks like."""
        for shape in self._known:
            facts = shape.read(payload)
            if facts is not None:
                self.latest = shape
                if self._patience >= 0:  # below, it counts down to the next try
                    self._patience = min(self._patience + 1, _PATIENCE)
                return facts
        # Headers of another length each time teach little: after a while only now and then one is tried. It costs as
        # much as to decode six.
        self._patience -= 1
        if self._patience >= 0 or self._patience <= -_PATIENCE:
            self._patience = max(self._patience, 0)
            self._learn(payload)
        return facts_of(payload)

    def _learn(self, payload: bytes) -> None:
        learned = shape_of(payload)
        if learned is not None:
            self._known.appendleft(learned)
            self.latest = learned


def shape_of(payload: bytes) -> Shape | None:
    """Learn what other content headers may have in common with this one; None if that can't be said for sure."""
    flags, (start, end) = flags_of(payload), table_of(payload)
    if flags & MORE_FLAGS or end - PROPERTIES_AT > _LARGEST:
        return None
    if start == end and flags & HEADERS:
        return None  # a table that is announced and can't be found teaches nothing
    found = entries(payload, start + LENGTH.size, end)
    stamp = _stamp_among(found)
    gaps = [each for each in found if each is stamp or (each.key not in _READ and each.at < each.stop)]
    fixed_of = _around(gaps, end).unpack_from
    shape = Shape(
        flags,
        fixed_of,
        fixed_of(payload, PROPERTIES_AT),
        end - PROPERTIES_AT,
        stamp.at if stamp else 0,
        facts_of(payload),
    )
    return shape if _is_proven(shape, payload[:end], gaps) else None


def _stamp_among(found: Sequence[Entry]) -> Entry | None:
    """The time of publishing, if it has its eight bytes. Of several of one name the last one counts."""
    named = [each for each in found if each.key == _STAMP_NAME]
    return named[-1] if named and named[-1].kind in _STAMP_TYPES else None


def _around(gaps: Sequence[Entry], end: int) -> struct.Struct:
    """The format of what stands around the gaps, from the properties to the table's end."""
    parts, at = [">"], PROPERTIES_AT
    for gap in gaps:
        parts.append(f"{gap.at - at}s{gap.stop - gap.at}x")
        at = gap.stop
    return struct.Struct("".join(parts) + (f"{end - at}s" if at < end else ""))


def _is_proven(shape: Shape, payload: bytes, gaps: Sequence[Entry]) -> bool:
    """Whether nothing that may stand in the gaps changes anything but the time."""
    for proof in _PROOFS:
        filled, expected = bytearray(payload), shape.facts._replace(published_ms=proof)
        for gap in gaps:
            size = gap.stop - gap.at
            filled[gap.at : gap.stop] = (STAMP.pack(proof) * size)[:size]
        if facts_of(bytes(filled)) != (expected if shape.stamp_at else shape.facts):
            return False
    return True
