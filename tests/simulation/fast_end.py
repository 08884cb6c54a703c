"""What the fast reader has of a connection: deliveries come as bytes, read by its own parser, and acknowledgements go
out as bytes."""

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from common.delivery import Delivery, Epoch, Properties
from common.rabbitmq.consuming.fast.parser import FrameError, Parser
from common.rabbitmq.frames import content_frames, header_size, short_text
from tests.simulation.messages import Message

if TYPE_CHECKING:
    from tests.simulation.connection import ModelConnection

FRAME_MAX = 4096
"""Of deliveries: small, so that filling a frame costs little."""

_ACK = struct.Struct(">BHIHHQBB")
_METHOD = struct.Struct(">BHI")
_DELIVER = struct.Struct(">HH")
_TAG = struct.Struct(">QB")
_WIDE = 2**20
"""Bytes that may wait where some headers fill a frame."""


class FastEnd:
    """Stands where `common.rabbitmq.consuming.fast.protocol.Wire` does."""

    def __init__(self, connection: "ModelConnection") -> None:
        self._connection = connection
        self._parser = Parser()
        self._on_burst: Callable[[list[Delivery]], None] = lambda _: None
        self._on_failure: Callable[[str], None] = lambda _: None
        self._may_be_wide = connection.life.settings.source_max_bytes > _WIDE

    def begin(
        self,
        epoch: Epoch,
        *,
        on_burst: Callable[[list[Delivery]], None],
        on_failure: Callable[[str], None],
        **_: object,
    ) -> None:
        self._parser.begin(epoch, frame_max=FRAME_MAX)
        self._on_burst, self._on_failure = on_burst, on_failure

    def write(self, frames: bytes) -> None:
        channel = self._connection.channels[-1]
        for _, _, _, _, _, tag, multiple, _ in _ACK.iter_unpack(frames):
            if not channel.is_over:
                channel.acknowledge(tag, bool(multiple))

    def arrive(self, burst: list[tuple[int, Message, int]], now: float) -> None:
        """Hand a burst on."""
        try:
            deliveries = self._parser.feed(b"".join([self._frames(*each) for each in burst]), now).deliveries
        except FrameError as error:
            self._on_failure(f"broken frame: {error}")
            self._connection.lose("broken frame")
        else:
            self._on_burst(deliveries)

    def _frames(self, tag: int, message: Message, count: int) -> bytes:
        channel = self._connection.channels[-1].number
        method = b"".join(
            (_DELIVER.pack(60, 60), short_text("consumer"), _TAG.pack(tag, count > 0), short_text(message.kind), b"\0")
        )
        properties = properties_of(message, count, wide=message.is_wide and self._may_be_wide)
        return b"".join(
            (
                _METHOD.pack(1, channel, len(method)),
                method,
                b"\xce",
                content_frames(channel, properties, message.body, frame_max=FRAME_MAX),
            )
        )


def properties_of(message: Message, count: int, *, wide: bool) -> Properties:
    """A delivery's properties. `wide`: as published they fill a frame, and what the broker adds goes beyond it."""
    headers: dict[str, object] = {} if message.load is None else {"load": message.load}
    if wide:
        headers["ballast"] = ""
        headers["ballast"] = "x" * (FRAME_MAX - header_size(Properties(headers=headers)))
    if count:
        headers["x-delivery-count"] = count
    return Properties(headers=headers)
