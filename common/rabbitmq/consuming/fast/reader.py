"""Read deliveries straight from the socket, in whole bursts, and write acknowledgements straight to it."""

import struct
from collections import deque
from typing import ClassVar

from common.delivery import Epoch
from common.rabbitmq.channel import Channel
from common.rabbitmq.connection import Connection
from common.rabbitmq.consuming.ack_ledger import Ack
from common.rabbitmq.consuming.fast.connection import FastConnection
from common.rabbitmq.consuming.reading import AiormqReader, OnBurst, OnFailure

_ACK = struct.Struct(">BHIHHQBB")
_ACK_SIZE = 13


class FastReader:
    """A `DeliveryReader`."""

    connection_type: ClassVar[type[Connection]] = FastConnection

    def __init__(self, connection: FastConnection, channel: Channel) -> None:
        self._connection, self._channel, self._wire = connection, channel, connection.wire
        self._through_aiormq = AiormqReader(connection, channel)
        self._is_leaving = False

    def begin(self, epoch: Epoch, *, on_burst: OnBurst, on_failure: OnFailure) -> None:
        """Have the socket's end give each burst here."""
        self._wire.begin(
            epoch,
            frame_max=self._connection.connection_tune.frame_max,
            heartbeat=float(self._connection.heartbeat_timeout or 0),
            on_burst=on_burst,
            on_failure=on_failure,
        )

    async def acknowledge(self, unsent: deque[Ack]) -> None:
        """Write them in one go."""
        if self._is_leaving:
            await self._through_aiormq.acknowledge(unsent)
        else:
            self._wire.write(b"".join([self._frame(ack) for ack in unsent]))
            unsent.clear()

    def leave(self) -> None:
        """Let acknowledgements follow the cancellation through aiormq's queue."""
        # One written past that queue could overtake a lower one in it, which closes the channel, or the cancellation,
        # which it is to follow.
        self._is_leaving = True

    def _frame(self, ack: Ack) -> bytes:
        return _ACK.pack(1, self._channel.number, _ACK_SIZE, 60, 80, ack.tag, ack.multiple, 0xCE)
