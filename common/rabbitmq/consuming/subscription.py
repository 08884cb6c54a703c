"""One epoch: a channel that consumes a queue, what it has received, and what may be acknowledged.

Everything here dies with the channel. The source begins the next one.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from common.delivery import Delivery, Epoch
from common.errors import BrokerUnavailable
from common.rabbitmq.channel import Channel, uncalled
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import ANSWER_TIMEOUT, CLOSE_TIMEOUT, Connection, broker_errors
from common.rabbitmq.consuming.ack_ledger import Ack, AckLedger
from common.rabbitmq.consuming.reading import DeliveryReader

PAUSE_LIMIT = 10.0
"""Seconds for which the socket may stay unread. A broker that can't write for 30 s drops the connection, and heartbeats
arrive unread all the while: aiormq gives up after three of them."""

CANCEL_LIMIT = 4.0
"""Seconds for the broker to answer that it sends no more: half of a drain as it is by default."""

GAP_LIMIT = 1.0
"""Seconds after which settled deliveries that are stuck behind an unsettled one are acknowledged one by one."""

APPLIED = 0.25
"""Seconds that a channel stays open after single acknowledgements: of more than 32 on their way into a quorum queue
RabbitMQ keeps the rest with the channel, and loses it with it (seen on 3.10, 4.0 and 4.3: of 400, up to 366)."""


class Subscription:
    """A channel's life as a consumer."""

    def __init__(
        self,
        connection: Connection,
        channel: Channel,
        reader: DeliveryReader,
        epoch: Epoch,
        *,
        prefetch: int,
        max_bytes: int,
        condition: Condition,
        pause_limit: float = PAUSE_LIMIT,
        cancel_limit: float = CANCEL_LIMIT,
    ) -> None:
        self.epoch = epoch
        self.end_reason: str | None = None
        """Why it is over; None while it isn't."""
        self.was_ended = False
        """Whether it was the source that ended it, before anything else did."""
        self.overfull: int | None = None
        """The prefetch to begin the next one with, if this one had to end because too many bytes were waiting."""
        self.settled = 0
        """How many deliveries were settled."""
        self._connection, self._channel, self._reader = connection, channel, reader
        self._prefetch, self._max_bytes = prefetch, max_bytes
        self._pause_limit, self._cancel_limit = pause_limit, cancel_limit
        self._condition = condition
        self._ledger = AckLedger(prefetch=prefetch)
        self._burst: list[Delivery] = []
        self._burst_at = 0.0
        self._bytes = 0
        self._consumer_tag = ""
        self._settled = asyncio.Event()
        self._gap_timer: asyncio.TimerHandle | None = None
        self._is_singly_due = False
        self._singly_at = -APPLIED
        self._unsent: deque[Ack] = deque()
        self._acknowledging = asyncio.Lock()
        self._finishing = asyncio.Lock()
        self._giving_up: asyncio.TimerHandle | None = None
        self._may_pause = prefetch > 1
        reader.begin(epoch, on_burst=self._arrive, on_failure=self.end)
        channel.on_end(self.end)
        channel.on_consumer_cancel_callbacks.add(lambda _: self.break_off("consumer cancelled by the broker"))

    @property
    def unsettled(self) -> int:
        """How many deliveries await their answer."""
        return 0 if self.epoch.ended else self._ledger.unsettled + len(self._burst)

    @property
    def oldest(self) -> float | None:
        """When the oldest of them arrived."""
        if self.epoch.ended:
            return None
        oldest = self._ledger.oldest
        return self._burst_at if oldest is None and self._burst else oldest

    @property
    def waiting(self) -> int:
        """How many deliveries have arrived and were not taken yet."""
        return len(self._burst)

    async def start(self, queue: str, arguments: dict[str, Any]) -> None:
        """Begin to consume."""
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await self._channel.basic_qos(prefetch_count=self._prefetch)
            answer = await self._channel.basic_consume(queue, uncalled, arguments=arguments)
        self._consumer_tag = answer.consumer_tag or ""

    def take(self) -> list[Delivery]:
        """Everything that has arrived since the last time; nothing once it has expired."""
        if self.epoch.ended:
            return []
        burst, self._burst = self._burst, []
        if burst:
            self._ledger.receive(burst[-1].tag, self._burst_at)
        return burst

    def settle(self, deliveries: Iterable[Delivery]) -> None:
        """Mark those of this epoch as finished; the acknowledgement goes out at the end of this turn of the loop."""
        if self.epoch.ended:
            return
        ours = [delivery for delivery in deliveries if delivery.epoch is self.epoch]
        self._ledger.settle([delivery.tag for delivery in ours])
        self._bytes -= sum(delivery.weight for delivery in ours)
        self.settled += len(ours)
        self._condition.notify()
        if self._giving_up and self._bytes <= self._max_bytes:
            self._read_on()
        self._watch_gap()
        self._settled.set()

    async def acknowledge(self) -> None:
        """Send what is due whenever something was settled: one multiple acknowledgement per turn, at most."""
        try:
            with broker_errors(self._connection.address):
                while True:
                    await self._settled.wait()
                    self._settled.clear()
                    await self._send_due()
        except BrokerUnavailable as error:
            self.break_off(str(error))

    async def cancel(self) -> None:
        """Ask the broker for no more; what it had sent before its answer has arrived when this returns."""
        # The answer stands behind all of that: unread bytes would keep it from us for as long as the store is away.
        self._may_pause = False
        self._read_on()
        tag, self._consumer_tag = self._consumer_tag, ""
        try:
            with broker_errors(self._connection.address):
                async with asyncio.timeout(self._cancel_limit):
                    await self._channel.basic_cancel(tag)
        except BrokerUnavailable as error:
            self.break_off(str(error))
            self._connection.cut()  # who does not answer this will not answer a goodbye, which has its own seconds

    def break_off(self, reason: str) -> None:
        """Have the source end this epoch: the channel is of no use any more, but still there."""
        self.end_reason = self.end_reason or reason
        self._condition.notify()

    async def finish(self) -> None:
        """Acknowledge all that is settled, close the channel and end the epoch, in bounded time whatever happens."""
        self._reader.leave()
        try:
            with suppress(BrokerUnavailable), broker_errors(self._connection.address):
                async with asyncio.timeout(CLOSE_TIMEOUT), self._finishing:
                    if self.epoch.ended:
                        return
                    self.was_ended = self.end_reason is None
                    # First of all no more: the acknowledgements would have the broker fill the prefetch once more, and
                    # each of those messages would return with its count of deliveries raised for nothing.
                    if self._consumer_tag:
                        await self._channel.basic_cancel(self._consumer_tag, nowait=True)
                    self._is_singly_due = True
                    await self._send_due()
                    # From here on deliveries are dropped unread: the broker's answer comes after all it had sent.
                    self.end("closed")
                    await asyncio.sleep(self._singly_at + APPLIED - asyncio.get_running_loop().time())
                    await self._channel.close()
        finally:
            self.end("closed")

    def end(self, reason: str) -> None:
        """Let everything of this epoch expire."""
        self.end_reason = self.end_reason or reason
        self.epoch.ended = True
        if self._gap_timer is not None:
            self._gap_timer.cancel()
        self._read_on()
        self._condition.notify()

    def _arrive(self, burst: list[Delivery]) -> None:
        if self.epoch.ended:
            return
        if self._burst:
            self._burst += burst
        else:
            self._burst, self._burst_at = burst, burst[0].received
            self._condition.notify()
        self._bytes += sum([delivery.weight for delivery in burst])
        if self._bytes > self._max_bytes and self._may_pause:
            self._pause()

    def _pause(self) -> None:
        """Leave the rest in the socket until there is room.

        Stopping the consumer instead would not do: the broker sends the whole prefetch nevertheless.
        """
        self._connection.pause_reading()
        if self._giving_up is None:
            limit = min(self._pause_limit, float(self._connection.heartbeat_timeout or self._pause_limit))
            self._giving_up = asyncio.get_running_loop().call_later(limit, self._give_up)

    def _read_on(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
            self._connection.resume_reading()

    def _give_up(self) -> None:
        """Begin again with a prefetch that fits: nothing is settled, and the socket can't stay unread any longer."""
        waiting = self.unsettled
        fitting = self._max_bytes * waiting // max(self._bytes, 1)
        self.overfull = max(1, min(self._prefetch // 2, fitting))
        self.break_off("more bytes wait than may")

    def _watch_gap(self) -> None:
        if self._gap_timer is None and self._ledger.waiting is not None:
            loop = asyncio.get_running_loop()
            self._gap_timer = loop.call_later(GAP_LIMIT, self._look_at_gap, self._ledger.waiting)

    def _look_at_gap(self, waited: int) -> None:
        self._gap_timer = None
        if self._ledger.prefix < waited:
            self._is_singly_due = True
            self._settled.set()
        else:
            self._watch_gap()

    def _due(self) -> list[Ack]:
        acks = self._ledger.take()
        if self._is_singly_due:
            self._is_singly_due = False
            acks += self._ledger.take_singly()
        return acks

    async def _send_due(self) -> None:
        # One at a time: a lower tag sent after a higher one that covers it would close the channel.
        async with self._acknowledging:
            self._unsent.extend(self._due())
            if self.epoch.ended or not self._unsent:
                return
            has_singles = any(not ack.multiple for ack in self._unsent)
            await self._reader.acknowledge(self._unsent)  # what is left of them if this is cancelled goes next
            if has_singles:
                self._singly_at = asyncio.get_running_loop().time()
