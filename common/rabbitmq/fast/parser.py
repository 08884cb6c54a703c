"""Split what the broker sends into deliveries, and all other frames, which stay bytes.

Pure: bytes in, a burst out. Frames may begin and end anywhere in what is fed. Messages that come whole and look like the
one before, which is nearly all of them, are read in `_run`; every other one frame by frame, which is also what teaches
`_run` the look.
"""

import struct
from functools import partial
from typing import NamedTuple

import msgspec

from common.delivery import Delivery, Epoch
from common.rabbitmq.fast.headers import PROPERTIES_AT, Headers, read_properties

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
OVERHEAD = 8
"""Bytes of a frame around its payload."""

FRAME_MAX = 131_072
"""What a connection begins with. RabbitMQ's own limit, and more than its handshake needs."""

_FRAME = struct.Struct(">BHI")
_BODY_FRAME = struct.Struct(">BBHI")  # behind the end of the header's
_CONTENT = struct.Struct(">HHQ")
_TAG = struct.Struct(">Q")
_STAMP = struct.Struct(">q")
_BASIC = 60
_DELIVER = b"\x00\x3c\x00\x3c"


class FrameError(Exception):
    """The bytes break the protocol: the connection is of no use any more."""


class Parsed(NamedTuple):
    """What some bytes have completed."""

    deliveries: list[Delivery]
    size: int
    """Bytes of their bodies."""
    rest: bytes
    """All other frames, whole."""


class _Content(msgspec.Struct, gc=False):
    """A message of which frames are missing."""

    tag: int
    channel: int
    header: bytes = b""
    missing: int = -1
    parts: list[bytes] = []


class _Look(NamedTuple):
    """What the frames of the last message looked like: `prefix`, tag, redelivered, `suffix`, begin of its header."""

    format: struct.Struct
    prefix: bytes
    suffix: bytes
    channel: int


class Parser:
    """One connection's bytes, from the first to the last. After a FrameError it may not be used any more."""

    def __init__(self) -> None:
        self._epoch: Epoch | None = None
        self._largest = FRAME_MAX - OVERHEAD
        self._tag = 0
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._needed = 0
        self._content: _Content | None = None
        self._look: _Look | None = None
        self._headers = Headers()

    def begin(self, epoch: Epoch, *, frame_max: int = FRAME_MAX) -> None:
        """Expect deliveries from now on; before this they are an error. `frame_max`: as negotiated, 0 for no limit."""
        self._epoch = epoch
        self._largest = (frame_max or 1 << 32) - OVERHEAD

    def feed(self, data: bytes, received: float) -> Parsed:
        """Take some bytes. `received`: what the deliveries have as theirs. Raises: FrameError."""
        self._kept.append(data)
        self._kept_size += len(data)
        if self._kept_size < self._needed:
            return Parsed([], 0, b"")
        if len(self._kept) > 1:
            data = b"".join(self._kept)
        deliveries: list[Delivery] = []
        rest: list[bytes] = []
        at = self._split(data, received, deliveries, rest)
        self._kept = [data[at:]] if at < len(data) else []
        self._kept_size = len(data) - at
        size = sum([len(delivery.body) for delivery in deliveries])
        return Parsed(deliveries, size, b"".join(rest))

    def _split(self, data: bytes, received: float, deliveries: list[Delivery], rest: list[bytes]) -> int:
        """Go through whole frames. Returns: how far that goes."""
        at, end = 0, len(data)
        while True:
            if self._look is not None and self._content is None:
                at = self._run(data, at, received, deliveries)
            if end - at < OVERHEAD:
                self._needed = OVERHEAD
                return at
            kind, channel, size = _FRAME.unpack_from(data, at)
            if kind not in (METHOD, HEADER, BODY, HEARTBEAT) or size > self._largest:
                raise FrameError(f"no frame: type {kind}, {size} bytes")
            stop = at + OVERHEAD + size
            if stop > end:
                self._needed = stop - at
                return at
            if data[stop - 1] != END:
                raise FrameError("a frame without its end")
            if kind == METHOD and data.startswith(_DELIVER, at + 7):
                self._deliver(data[at:stop], channel)
            elif kind in (HEADER, BODY):
                self._continue(kind, channel, data[at + 7 : stop - 1], received, deliveries)
            else:
                self._pass_on(kind, channel, data[at:stop], rest)
            at = stop
