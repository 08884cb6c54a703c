"""The model broker: queues per service and kind, connections, and what it does to both when it is told to."""

from typing import TYPE_CHECKING

from common.kinds import Names, Service
from tests.simulation.channel import ModelChannel
from tests.simulation.confirming import Confirming
from tests.simulation.messages import Message
from tests.simulation.queues import Back, Consumer, Queue, Version

if TYPE_CHECKING:
    from tests.simulation.checks import Checks
    from tests.simulation.connection import ModelConnection

NAMES = Names()
SERVICE = Service.TABLEINATOR


class Broker:
    """RabbitMQ, as far as a consumer can tell."""

    def __init__(self, version: Version, kinds: tuple[str, ...], *, latency: float, checks: "Checks") -> None:
        self.version, self.latency, self._checks = version, latency, checks
        self.timeout = 1800.0
        """Of consumers that ask for none."""
        self.is_down = False
        self.connections: list[ModelConnection] = []
        self.queues = {NAMES.queue(SERVICE, kind): Queue(version, dropped=self._drop) for kind in kinds}
        self.confirming = Confirming(self, checks)

    def queue(self, kind: str) -> Queue:
        return self.queues[NAMES.queue(SERVICE, kind)]

    def publish(self, message: Message) -> None:
        """Take a message from its producer."""
        self.queue(message.kind).publish([message])

    def consuming(self) -> list[ModelChannel]:
        """Channels with a consumer."""
        channels = [channel for connection in self.connections for channel in connection.channels]
        return [channel for channel in channels if channel.consumer is not None and not channel.is_over]

    def close_channel(self, channel: ModelChannel, reason: str) -> None:
        """End a channel as an error of its own does."""
        channel.was_disturbed = True
        channel.end_consumer()
        channel.connection.to_client.send(channel.end, reason)

    def cancel_consumer(self, channel: ModelChannel) -> None:
        """Tell a consumer that it is none any more; what it has not answered stays its own."""
        channel.was_disturbed = True
        if channel.consumer is not None:
            channel.consumer.is_active = False
        channel.connection.to_client.send(channel.cancelled_by_broker)

    def time_out(self, channel: ModelChannel, consumer: Consumer) -> None:
        """Take back what was not answered in time: before 4.3 by closing the channel, since then by a cancellation."""
        self._checks.timed_out(channel)
        if self.version is Version.V4_3:
            consumer.end(Back.TIMEOUT)
            self.cancel_consumer(channel)
        else:
            self.close_channel(channel, "delivery acknowledgement timed out")

    def _drop(self, message: Message) -> None:
        self._checks.violate(f"message {message.number} dropped by the broker's delivery limit")
