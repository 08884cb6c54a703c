"""Read messages that look like the one before: the one place where every tenth of a microsecond counts.

The three frames of a message are the same from one to the next but for the tag, two sizes, and what is in them. So one
unpack and a few comparisons do for what would otherwise be a dozen steps. Whatever differs, comes in parts or is not
there yet is left to the parser, which reads frame by frame.
"""

import struct
from functools import lru_cache, partial
from typing import NamedTuple

from common.delivery import Delivery, Epoch
from common.rabbitmq.consuming.fast.header_cache import STAMP, Shapes
from common.rabbitmq.consuming.fast.headers import PROPERTIES_AT, read_properties

_FRAME_SIZE, _METHOD_SIZE, _TAG_SIZE = 7, 4, 8
_BEFORE_BODY = struct.Struct(">BBHI")  # the end of the header's frame, and the begin of the body's
_END, _BODY = 0xCE, 3
_BASIC = 60 << 16  # the class, and a weight of 0


class Look(NamedTuple):
    """What a message looks like from its first byte to its flags."""

    format: struct.Struct
    """Prefix, tag, redelivered, suffix; size of the header; class and weight, body size, flags."""
    prefix: bytes
    """Up to the tag."""
    suffix: bytes
    """From behind the tag and the octet beside it up to the size of the header."""
    channel: int


def look_of(frame: bytes, channel: int) -> Look | None:
    """Take the look from a frame with a `basic.deliver`; None if its fields don't fill it exactly."""
    tag_at = _behind_text(frame, _FRAME_SIZE + _METHOD_SIZE)
    exchange_at = tag_at + _TAG_SIZE + 1
    if _behind_text(frame, _behind_text(frame, exchange_at)) != len(frame) - 1:
        return None
    prefix, suffix = frame[:tag_at], frame[exchange_at:] + b"\x02" + channel.to_bytes(2, "big")
    return Look(_format(len(prefix), len(suffix)), prefix, suffix, channel)


def _behind_text(frame: bytes, at: int) -> int:
    return at + 1 + (frame[at] if at < len(frame) else 0)


@lru_cache(maxsize=64)
def _format(prefix: int, suffix: int) -> struct.Struct:
    return struct.Struct(f">{prefix}sQB{suffix}sIIQH")


class Lookalikes:
    """Messages of one epoch, each like the one before it."""

    def __init__(self, epoch: Epoch, *, largest: int) -> None:
        """`largest`: bytes that a frame may hold."""
        self.epoch = epoch
        self.largest = largest
        self.tag = 0
        """The last delivery's."""
        self.look: Look | None = None
        """The last delivery's."""
        self.shapes = Shapes()

    def read(self, data: bytes, at: int, received: float, deliveries: list[Delivery]) -> int:
        """Add the messages that begin here, as long as they are whole and look alike. Returns: how far that goes."""
        if self.look is None:
            return at
        # Local names, and a loop that calls no function of ours: most of the speed is that.
        (format_, prefix, suffix, channel), largest, epoch, tag = self.look, self.largest, self.epoch, self.tag
        unpack, size, before_body, end = format_.unpack_from, format_.size, _BEFORE_BODY.unpack_from, len(data)
        flags, fixed_of, fixed, least, stamp_at, (load, published, count) = self.shapes.latest
        least += PROPERTIES_AT
        stamp_of, read = STAMP.unpack_from, read_properties
        while at + size <= end:
            its_prefix, its_tag, redelivered, its_suffix, header_size, kind, body_size, its_flags = unpack(data, at)
            header_at = at + size - PROPERTIES_AT
            header_end = header_at + header_size
            body_at = header_end + 8
            stop = body_at + body_size
            if (
                stop >= end
                or its_tag != tag + 1
                or its_flags != flags
                or its_prefix != prefix
                or its_suffix != suffix
                or kind != _BASIC
                or not least <= header_size <= largest
                or not 0 < body_size <= largest
                or before_body(data, header_end) != (_END, _BODY, channel, body_size)
                or data[stop] != _END
            ):
                break
            header = data[header_at:header_end]
            if fixed_of(header, PROPERTIES_AT) != fixed:
                break
            if stamp_at:
                (published,) = stamp_of(header, stamp_at)
            body = data[body_at:stop]
            # Of the octet one bit is meant. Without it the count is of a former life, in another queue.
            its_count = count if redelivered & 1 else 0
            read_all = partial(read, header)
            deliveries.append(
                Delivery(its_tag, epoch, body, received, load, published, its_count, read_all, header_size)
            )
            tag, at = its_tag, stop + 1
        self.tag = tag
        return at
