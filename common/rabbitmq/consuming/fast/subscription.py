"""One epoch of the fast source: whole bursts come in, and acknowledgements go straight to the socket."""

import asyncio
import struct

from common.delivery import Delivery, Epoch
from common.rabbitmq.channel import Channel
from common.rabbitmq.condition import Condition
from common.rabbitmq.consuming.ack_ledger import Ack
from common.rabbitmq.consuming.fast.connection import FastConnection
from common.rabbitmq.consuming.subscription import Subscription

_ACK = struct.Struct(">BHIHHQBB")
_ACK_SIZE = 13


class FastSubscription(Subscription):
    """A channel's life as a consumer."""

    def __init__(
        self,
        connection: FastConnection,
        channel: Channel,
        epoch: Epoch,
        *,
        prefetch: int,
        max_bytes: int,
        condition: Condition,
    ) -> None:
        super().__init__(connection, channel, epoch, prefetch=prefetch, max_bytes=max_bytes, condition=condition)
        self._wire = connection.wire
        self._is_due = False
        self._is_leaving = False
        self._wire.begin(
            epoch,
            frame_max=connection.connection_tune.frame_max,
            heartbeat=float(connection.heartbeat_timeout or 0),
            on_burst=self._arrive_together,
            on_failure=self.end,
        )

    async def acknowledge(self) -> None:
        """Nothing: no task is needed for it here."""

    async def finish(self) -> None:
        """Acknowledge all that is settled, close the channel and end the epoch, in bounded time whatever happens."""
        # From here on acknowledgements follow the cancellation through aiormq's queue. One written past that queue
        # could overtake a lower one in it, which closes the channel, or the cancellation, which it is to follow.
        self._is_leaving = True
        await super().finish()

    def _acknowledge_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._acknowledge_due)

    def _acknowledge_due(self) -> None:
        self._is_due = False
        if not self._is_leaving and not self.epoch.ended and (acks := self._due()):
            self._wire.write(b"".join([self._frame(ack) for ack in acks]))
            self._note(acks[-1])  # singles come last

    def _frame(self, ack: Ack) -> bytes:
        return _ACK.pack(1, self._channel.number, _ACK_SIZE, 60, 80, ack.tag, ack.multiple, 0xCE)

    def _arrive_together(self, burst: list[Delivery]) -> None:
        if self.epoch.ended:
            return
        if self._burst:
            self._burst += burst
        else:
            self._burst, self._burst_at = burst, burst[0].received
            self._condition.notify()
        self._add_bytes(sum([len(delivery.body) for delivery in burst]))
