"""Split what the broker sends into deliveries, and all other frames, which stay bytes.

Pure: bytes in, a burst out. Frames may begin and end anywhere in what is fed. Messages that have come whole and look
like the one before, which is nearly all of them, are read at once (`fast_path.py`); every other one frame by frame.
"""

import struct
from functools import partial
from typing import NamedTuple

import msgspec

from common.delivery import Delivery, Epoch
from common.rabbitmq.consuming.fast.fast_path import Lookalikes, look_of
from common.rabbitmq.consuming.fast.headers import PROPERTIES_AT, read_properties
from common.rabbitmq.frames import FRAME_MAX

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
OVERHEAD = 8
"""Bytes of a frame around its payload."""

HEADER_MAX = 16 * 2**20
"""Bytes of a content header, whatever limit was agreed: it can't be split, and the broker adds headers of its own to
one that filled a frame, or that came from a connection with larger frames."""

_FRAME = struct.Struct(">BHI")
_CONTENT = struct.Struct(">HHQ")
_TAG = struct.Struct(">Q")
_BASIC = 60
_DELIVER = b"\x00\x3c\x00\x3c"


class FrameError(Exception):
    """The bytes break the protocol: the connection is of no use any more."""


class Parsed(NamedTuple):
    """What some bytes have completed."""

    deliveries: list[Delivery]
    rest: bytes
    """All other frames, whole."""


class _Content(msgspec.Struct):
    """A message of which frames are missing."""

    tag: int
    channel: int
    alike: Lookalikes
    is_redelivered: bool
    header: bytes = b""
    missing: int = 0
    parts: list[bytes] = []


class Parser:
    """One connection's bytes, from the first to the last. After a FrameError it may not be used any more."""

    def __init__(self) -> None:
        self._largest = FRAME_MAX - OVERHEAD
        self._alike: Lookalikes | None = None
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._needed = OVERHEAD
        self._content: _Content | None = None

    def begin(self, epoch: Epoch, *, frame_max: int = FRAME_MAX) -> None:
        """Expect deliveries from now on; before this they are an error. `frame_max`: as negotiated."""
        self._largest = frame_max - OVERHEAD
        self._alike = Lookalikes(epoch, largest=self._largest)

    def feed(self, data: bytes, received: float) -> Parsed:
        """Take some bytes. `received`: what the deliveries have as theirs. Raises: FrameError."""
        deliveries: list[Delivery] = []
        rest: list[bytes] = []
        if self._kept:
            self._kept.append(data)
            self._kept_size += len(data)
            if self._kept_size < self._needed:
                return Parsed(deliveries, b"")
            data = b"".join(self._kept)
        at = self._split(data, received, deliveries, rest)
        self._kept_size = len(data) - at
        self._kept = [data[at:]] if self._kept_size else []
        return Parsed(deliveries, b"".join(rest))

    def _split(self, data: bytes, received: float, deliveries: list[Delivery], rest: list[bytes]) -> int:
        """Go through whole frames. Returns: how far that goes."""
        at = 0
        while True:
            if self._alike is not None and self._content is None:
                at = self._alike.read(data, at, received, deliveries)
            stop = self._stop(data, at)
            if stop > len(data):
                self._needed = stop - at
                return at
            if data[stop - 1] != END:
                raise FrameError("a frame does not end where it should")
            kind, channel, _ = _FRAME.unpack_from(data, at)
            if kind == METHOD and data.startswith(_DELIVER, at + _FRAME.size):
                self._deliver(data[at:stop], channel)
            elif kind in (HEADER, BODY):
                payload = data[at + _FRAME.size : stop - 1]
                self._header(payload, channel) if kind == HEADER else self._body(payload, channel)
                if self._content is not None and self._content.header and not self._content.missing:
                    deliveries.append(self._finish(self._content, received))
            else:
                self._pass_on(kind, channel, data[at:stop], rest)
            at = stop

    def _stop(self, data: bytes, at: int) -> int:
        """Where the frame ends that begins here, as far as that is known."""
        if len(data) - at < OVERHEAD:
            return at + OVERHEAD
        kind, _, size = _FRAME.unpack_from(data, at)
        if kind not in (METHOD, HEADER, BODY, HEARTBEAT) or size > (HEADER_MAX if kind == HEADER else self._largest):
            raise FrameError(f"not a frame: type {kind}, {size} bytes")
        return at + OVERHEAD + int(size)

    def _deliver(self, frame: bytes, channel: int) -> None:
        alike = self._alike
        if alike is None or self._content is not None:
            raise FrameError("a delivery out of turn")
        look = look_of(frame, channel)
        if look is None:
            raise FrameError("a delivery that can't be read")
        (tag,) = _TAG.unpack_from(frame, len(look.prefix))
        # The ledger acknowledges by the rule that a channel's tags have no holes.
        if tag != alike.tag + 1:
            raise FrameError(f"delivery {tag} follows delivery {alike.tag}")
        alike.tag, alike.look = tag, look
        is_redelivered = bool(frame[len(look.prefix) + _TAG.size] & 1)
        self._content = _Content(tag, channel, alike, is_redelivered)

    def _header(self, payload: bytes, channel: int) -> None:
        content = self._expecting(channel)
        if content.header or len(payload) < PROPERTIES_AT:
            raise FrameError("a content header out of turn")
        class_id, _, content.missing = _CONTENT.unpack_from(payload)
        if class_id != _BASIC:
            raise FrameError(f"a content header of class {class_id}")
        content.header = payload

    def _body(self, payload: bytes, channel: int) -> None:
        content = self._expecting(channel)
        if not content.header or not 0 < len(payload) <= content.missing:
            raise FrameError("a body out of turn")
        content.parts.append(payload)
        content.missing -= len(payload)

    def _expecting(self, channel: int) -> _Content:
        if self._content is None or self._content.channel != channel:
            raise FrameError("content that belongs to no delivery")
        return self._content

    def _finish(self, content: _Content, received: float) -> Delivery:
        self._content = None
        load, published, count = content.alike.shapes.read(content.header)
        count = count if content.is_redelivered else 0
        body = content.parts[0] if len(content.parts) == 1 else b"".join(content.parts)
        read = partial(read_properties, content.header)
        size = len(content.header)
        return Delivery(content.tag, content.alike.epoch, body, received, load, published, count, read, size)

    def _pass_on(self, kind: int, channel: int, frame: bytes, rest: list[bytes]) -> None:
        if kind == METHOD and self._content is not None and self._content.channel == channel:
            raise FrameError("a message that ends in the middle")
        rest.append(frame)
