"""The socket's end: deliveries leave here for their consumer, all other frames go to aiormq's reader as they came.

So one connection serves both: logging in, topology, closing and everything rare is aiormq's, and no task, future or
queue stands between a socket read and the burst it brings.
"""

import asyncio
import time

from aiormq.exceptions import AMQPConnectionError

from common.delivery import Epoch
from common.rabbitmq.connection import StreamEnd
from common.rabbitmq.consuming.fast.parser import FrameError, Parser
from common.rabbitmq.consuming.reading import OnBurst, OnFailure

SILENCE = 2
"""Heartbeat intervals without a byte after which a broker is lost: it sends at least twice in each."""

_HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


class Wire(StreamEnd):
    """A protocol for a transport, in front of aiormq's stream."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self._reader = reader
        self._parser = Parser()
        self._transport: asyncio.Transport | None = None
        self._on_burst: OnBurst = _drop
        self._on_failure: OnFailure = _drop
        self._has_failed = False
        self._has_read = False
        self._silent_since = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def begin(
        self, epoch: Epoch, *, frame_max: int, heartbeat: float, on_burst: OnBurst, on_failure: OnFailure
    ) -> None:
        """Expect deliveries. `heartbeat`: seconds, 0 for none. `on_failure`: called once, with the reason, before the
        connection is cut."""
        self._on_burst, self._on_failure = on_burst, on_failure
        self._parser.begin(epoch, frame_max=frame_max)
        if heartbeat:
            self._silent_since = time.monotonic()
            self._listen(heartbeat)

    def write(self, frames: bytes) -> None:
        """Send whole frames, now."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport's call; TLS may make it a second time."""
        self._transport = transport  # type: ignore[assignment]  # of a TCP or TLS connection: always a full one
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """The transport's call: one socket read."""
        if self._has_failed:
            return
        self._has_read = True
        self.greeting = self.greeting or data
        try:
            deliveries, rest = self._parser.feed(data, time.monotonic())
        except FrameError as error:
            self._fail(f"broken frame: {error}")
            return
        if deliveries:
            self._on_burst(deliveries)
        if rest:
            super().data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport's call."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _listen(self, heartbeat: float) -> None:
        """Look twice per interval whether the broker has been heard, and tell aiormq, which sees no deliveries."""
        if self.has_ended:
            return
        self._watch = asyncio.get_running_loop().call_later(heartbeat / 2, self._listen, heartbeat)
        is_deaf = self._transport is not None and not self._transport.is_reading()
        if self._has_read or is_deaf:
            self._has_read, self._silent_since = False, time.monotonic()
            super().data_received(_HEARTBEAT)
        elif time.monotonic() - self._silent_since > SILENCE * heartbeat:
            self._fail(f"nothing heard from the broker for {SILENCE * heartbeat:g} s")

    def _fail(self, reason: str) -> None:
        self._has_failed = True
        self._on_failure(reason)
        self._reader.set_exception(AMQPConnectionError(reason))
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()


def _drop(_: object) -> None:
    return
