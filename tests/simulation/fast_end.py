"""What the fast reader has of a connection: whole bursts come in, and acknowledgements go out as bytes."""

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from common.delivery import Delivery, Epoch, Properties, load_of
from tests.simulation.messages import Message

if TYPE_CHECKING:
    from tests.simulation.connection import ModelConnection

_ACK = struct.Struct(">BHIHHQBB")


class FastEnd:
    """Stands where `common.rabbitmq.consuming.fast.protocol.Wire` does."""

    def __init__(self, connection: "ModelConnection") -> None:
        self._connection = connection
        self._on_burst: Callable[[list[Delivery]], None] = lambda _: None
        self._epoch: Epoch

    def begin(
        self, epoch: Epoch, *, on_burst: Callable[[list[Delivery]], None], on_failure: object, **_: object
    ) -> None:
        self._epoch, self._on_burst = epoch, on_burst

    def write(self, frames: bytes) -> None:
        channel = self._connection.channels[-1]
        for _, _, _, _, _, tag, multiple, _ in _ACK.iter_unpack(frames):
            if not channel.is_over:
                channel.acknowledge(tag, bool(multiple))

    def arrive(self, burst: list[tuple[int, Message, int]], now: float) -> None:
        """Hand a burst on."""
        self._on_burst(
            [
                Delivery(tag, self._epoch, message.body, now, load_of(message.load), None, count, Properties)
                for tag, message, count in burst
            ]
        )
