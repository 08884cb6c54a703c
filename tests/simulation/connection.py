"""A connection between a process and the model broker, and all the ways in which it can be lost."""

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

from common.rabbitmq.consuming.prefetch import FIRST_WAIT, TURNS
from common.rabbitmq.consuming.subscription import PAUSE_LIMIT
from tests.simulation.channel import ModelChannel
from tests.simulation.fast_end import FastEnd
from tests.simulation.wire import Wire, answered

if TYPE_CHECKING:
    from tests.simulation.broker import Broker
    from tests.simulation.process import Life

HEARTBEAT = 30


class ModelConnection:
    """Both ends of a connection."""

    heartbeat_timeout = HEARTBEAT
    connection_tune = SimpleNamespace(frame_max=131072)

    def __init__(self, broker: "Broker", life: "Life", *, fast: bool) -> None:
        self.broker, self.life, self.checks = broker, life, life.checks
        self.address = "model"
        self.broker_version = tuple(map(int, broker.version.split(".")))
        self.vhost = "/"
        self.unblocked = asyncio.Event()
        self.unblocked.set()
        self.to_broker, self.to_client = Wire(broker.latency), Wire(broker.latency)
        self.channels: list[ModelChannel] = []
        self.wire = FastEnd(self) if fast else None
        self.is_closed = False
        self.is_known = True
        """Whether the broker takes it to be open."""
        self._paused_at: float | None = None
        self._was_full = False
        self._loop = asyncio.get_running_loop()

    def open_channel(self) -> ModelChannel:
        channel = ModelChannel(self, len(self.channels) + 1)
        self.channels.append(channel)
        return channel

    # What the runtime calls

    def pause_reading(self) -> None:
        if self._paused_at is None:
            self._paused_at = self._loop.time()
        self.to_client.hold()

    def resume_reading(self) -> None:
        if self._paused_at is not None and self._loop.time() > self._paused_at + PAUSE_LIMIT - 0.001:
            self._was_full = True
            self.life.filled_at.update({channel.queue: self._loop.time() for channel in self.channels})
        self._paused_at = None
        self.to_client.let_go()

    async def close(self) -> None:
        if not self.is_closed and not self.to_broker.is_cut:
            gone = self._loop.create_future()
            self.to_broker.send(self._goodbye, gone)
            await gone
        self.cut()

    def cut(self) -> None:
        """Drop the socket: the broker notices at once."""
        if not self.is_closed:
            for channel in self.channels:
                if not channel.is_over and channel.outstanding:
                    self.check_return(channel)
            self._end("closed")
            self.forget()

    # What happens to it

    def lose(self, reason: str, *, noticed_after: float = 0.0) -> None:
        """End it on both sides; the broker may take its time to notice."""
        self.to_broker.cut()
        self.to_client.cut()
        self._end(reason)
        if noticed_after:
            self._loop.call_later(noticed_after, self.forget)
        else:
            self.forget()

    def forget(self) -> None:
        """Take everything back: the broker has noticed."""
        if self.is_known:
            self.is_known = False
            self.to_broker.cut()
            self.broker.connections.remove(self)
            for channel in self.channels:
                channel.end_consumer()

    def check_return(self, channel: ModelChannel) -> None:
        """Whether there is a reason to give back what is unanswered."""
        if self.life.is_ending or channel.was_disturbed or not channel.outstanding or self.is_closed:
            return
        now = self._loop.time()
        oldest = min(since for _, since in channel.outstanding.values())
        message, _ = next(iter(channel.outstanding.values()))
        has_reason = (
            self._was_full or self._may_widen(channel, now) or self.life.world.checks.may_be_paused(message.kind)
        )
        if not has_reason and now < oldest + self.life.settings.hold_limit - 0.001:
            self.checks.violate(f"{len(channel.outstanding)} deliveries handed back after {now - oldest:.1f} s")

    def _may_widen(self, channel: ModelChannel, now: float) -> bool:
        """Whether a narrow channel may give way to one with the whole prefetch: the store has taken twice as many."""
        is_narrow = channel.prefetch < self.life.settings.prefetch
        narrow_since = self.life.filled_at.get(channel.queue, now)
        return is_narrow and channel.answered >= TURNS * channel.prefetch and now > narrow_since + FIRST_WAIT - 0.001

    def _end(self, reason: str) -> None:
        self.is_closed = True
        for channel in self.channels:
            channel.end(reason)
        self.to_client.cut()
        self.unblocked.set()

    def _goodbye(self, gone: "asyncio.Future[None]") -> None:
        self.forget()
        self.to_client.send(answered, gone)
