"""The broker's side of dead letters: take them, and confirm at once, late, never, or say no."""

import asyncio
from enum import StrEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pamqp.frame
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from tests.simulation.channel import ModelChannel

if TYPE_CHECKING:
    from tests.simulation.broker import Broker
    from tests.simulation.checks import Checks

LATE = 3.0


class Confirms(StrEnum):
    """When a letter is confirmed."""

    AT_ONCE = "at_once"
    TOGETHER = "together"
    LATE = "late"
    NEVER = "never"
    REFUSED = "refused"


class Confirming:
    """Letters come in; what is safe is confirmed."""

    def __init__(self, broker: "Broker", checks: "Checks") -> None:
        self._broker, self._checks = broker, checks
        self.mood = Confirms.AT_ONCE
        self.is_routed = True
        """Whether a letter reaches a queue."""
        self.is_blocked = False
        self._unread: list[tuple[ModelChannel, bytes]] = []
        self._unconfirmed: list[tuple[ModelChannel, int, bool]] = []

    def receive(self, channel: ModelChannel, payload: bytes) -> None:
        """Read what was published, unless publishers are blocked."""
        if self.is_blocked:
            self._unread.append((channel, payload))
            channel.connection.to_client.send(channel.connection.unblocked.clear)
            return
        for letter in _letters(payload):
            channel.published += 1
            self._take(channel, channel.published, *letter)

    def block(self) -> None:
        """Raise the memory alarm."""
        self.is_blocked = True

    def unblock(self) -> None:
        """End the alarm."""
        self.is_blocked = False
        unread, self._unread = self._unread, []
        for channel, payload in unread:
            if channel.connection.is_known:
                channel.connection.to_client.send(channel.connection.unblocked.set)
                self.receive(channel, payload)

    def turn(self, mood: Confirms) -> None:
        """Confirm otherwise from now on; what was left unconfirmed is confirmed."""
        self.mood = mood
        if mood is not Confirms.NEVER:
            self._confirm_all()

    def _take(self, channel: ModelChannel, number: int, exchange: str, headers: dict[str, Any], body: bytes) -> None:
        taken = self.mood is not Confirms.REFUSED
        if not self.is_routed:
            frame = SimpleNamespace(exchange=exchange, routing_key="")
            channel.connection.to_client.send(lambda: channel.on_return(frame, None, body))
        elif taken:
            self._checks.dead_lettered(headers["x-spindle-kind"], body, headers)
        self._unconfirmed.append((channel, number, taken))
        match self.mood:
            case Confirms.LATE:
                asyncio.get_running_loop().call_later(LATE, self._confirm_all)
            case Confirms.TOGETHER:
                asyncio.get_running_loop().call_later(0.01, self._confirm_together)
            case Confirms.NEVER:
                pass
            case _:
                self._confirm_all()

    def _confirm_all(self) -> None:
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        for channel, number, taken in unconfirmed:
            channel.connection.to_client.send(channel.on_confirm, number, False, taken)

    def _confirm_together(self) -> None:
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        last = {channel: number for channel, number, _ in unconfirmed}
        for channel, number in last.items():
            channel.connection.to_client.send(channel.on_confirm, number, True, True)


def _letters(payload: bytes) -> list[tuple[str, dict[str, Any], bytes]]:
    """Exchange, headers and body of each message in a run of frames."""
    letters: list[tuple[str, dict[str, Any], bytes]] = []
    exchange, headers, body, size = "", {}, b"", 0
    while payload:
        used, _, frame = pamqp.frame.unmarshal(payload)
        payload = payload[used:]
        match frame:
            case commands.Basic.Publish():
                exchange = frame.exchange
            case ContentHeader():
                headers, body, size = frame.properties.headers or {}, b"", frame.body_size
            case ContentBody():
                body += frame.value
                if len(body) == size:
                    letters.append((exchange, headers, body))
    return letters
