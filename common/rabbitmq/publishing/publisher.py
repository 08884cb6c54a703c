"""Publish many messages, with many confirms in flight.

No task of its own: the caller of `publish` or `flush` does the work. It writes, waits for confirms, and does both again
for what was refused, returned or lost.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self

import msgspec
import structlog

from common.backoff import DEFAULT, Backoff
from common.delivery import Properties
from common.errors import BrokerUnavailable, SpindleError, StartRefused
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import connected
from common.rabbitmq.publishing.confirms import ConfirmedChannel, Message, open_confirmed
from common.settings.programs import BrokerSettings
from common.telemetry.trouble import Trouble

log = structlog.get_logger()

_ATTEMPTS = 10
"""Times that a message is written before it is given up: about six seconds if the broker refuses or returns it."""

_CHUNK = 64

STALLED = 100.0
"""Seconds without a single confirm after which another connection is tried. A cluster takes up to 75 to see that one of
its nodes is frozen, and then confirms by itself what it holds: before that, publishing again would only double it."""

_SAY_EVERY = 25.0
"""Seconds without a single confirm after which that is said, again and again."""


class PublishFailed(SpindleError):
    """A message could not be published; the text says where to and why."""


class Outgoing(msgspec.Struct):
    """A message to publish. Headers go out in their order: what is the same for all messages comes first."""

    body: bytes
    message_id: str
    headers: Mapping[str, Any]


class Portion:
    """Messages that were published together; `unconfirmed` of them are not safe yet."""

    __slots__ = ("unconfirmed",)

    def __init__(self, unconfirmed: int) -> None:
        self.unconfirmed = unconfirmed


class Publisher:
    """An async context manager that holds a connection. Several tasks may publish at the same time."""

    def __init__(
        self,
        broker: BrokerSettings,
        *,
        max_unconfirmed: int,
        name: str,
        patience: float = 300.0,
        stalled: float = STALLED,
        backoff: Backoff = DEFAULT,
    ) -> None:
        """`patience`: seconds without a single confirm, or without a broker, after which it gives up; `stalled`: after
        which it connects again, to another node if it can. While the broker blocks publishing they do not count."""
        self._broker, self._max_unconfirmed, self._name = broker, max_unconfirmed, name
        self._patience, self._stalled = patience, stalled
        self._silent = 0.0  # seconds without a confirm, in which one was waited for
        self._channel: ConfirmedChannel | None = None
        self._outbox: deque[Message] = deque()
        self._confirmed = 0
        self._failure: PublishFailed | None = None
        self._condition = Condition()
        self._working = asyncio.Lock()
        self._connection = AsyncExitStack()
        self._backoff, self._waits = backoff, backoff.delays()
        self._refused: deque[Message] = deque()  # beside the outbox: they wait before they are written again
        self._trouble = Trouble(log, lambda: {"unconfirmed": self.unconfirmed})

    @property
    def confirmed(self) -> int:
        """How many messages are safe."""
        return self._confirmed

    @property
    def unconfirmed(self) -> int:
        """How many messages are not safe yet."""
        return len(self._outbox) + len(self._refused) + (self._channel.unconfirmed if self._channel else 0)

    @property
    def blocked(self) -> bool:
        """Whether the broker blocks publishing (memory or disk alarm)."""
        return self._channel is not None and not self._channel.connection.unblocked.is_set()

    @property
    def _blockings(self) -> int:
        return self._channel.connection.blockings if self._channel else 0

    async def __aenter__(self) -> Self:
        """Wait until the broker is there.

        Raises: StartRefused.
        """
        try:
            while self._channel is None:
                try:
                    await self._connect()
                except BrokerUnavailable as error:
                    self._trouble.say("Waiting for the broker", str(error))
                    await asyncio.sleep(next(self._waits))
        except BaseException:  # also cancelled: nobody will leave this block, nor wait for the broker any more
            self._trouble.leave()
            await self._connection.aclose()
            raise
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close; flush before, to be sure of what was published."""
        self._trouble.leave()
        await self._connection.aclose()

    async def publish(self, exchange: str, messages: Sequence[Outgoing], *, key: str = "") -> Portion:
        """Hand messages to the socket, mandatory and persistent; wait only while too many are unconfirmed, and before
        those that came back are written again. `key`: of the exchange "", the name of the queue.

        Returns: what says how many of them are safe, now and later.
        Raises: PublishFailed, also for what an earlier call published.
        """
        portion = Portion(len(messages))
        for start in range(0, len(messages), _CHUNK):
            await self._work_until(lambda: self.unconfirmed < self._max_unconfirmed)
            self._outbox.extend(_message(exchange, key, each, portion) for each in messages[start : start + _CHUNK])
            await self._work_until(lambda: not self._outbox)
        return portion

    async def flush(self) -> None:
        """Wait until every message is safe.

        Raises: PublishFailed.
        """
        await self._work_until(lambda: not self.unconfirmed)

    async def _work_until(self, fact: Callable[[], object]) -> None:
        while True:
            if self._failure:
                raise self._failure
            if fact():
                return
            if self._outbox or self._refused:
                await self._write()
            else:
                await self._hear(fact)

    async def _write(self) -> None:
        async with self._working:
            if self._refused:
                await asyncio.sleep(next(self._waits))
                self._outbox.extendleft(reversed(self._refused))
                self._refused.clear()
            channel = await self._usable_channel()
            if channel is not None:
                with suppress(BrokerUnavailable):  # `_lose` has kept the messages
                    await self._unless_silent(channel.write(self._outbox))

    async def _hear(self, fact: Callable[[], object]) -> None:
        """Wait for the broker to say something, or for the fact."""
        seen = self._confirmed
        await self._unless_silent(
            self._condition.until(
                lambda: fact() or self._outbox or self._refused or self._failure or self._confirmed != seen
            )
        )

    async def _unless_silent(self, work: Awaitable[object]) -> None:
        """Do something that ends only if the broker does its part. If it confirms nothing meanwhile, leave the work,
        which loses no message, and count the time."""
        seen, blockings = self._confirmed, self._blockings
        seconds = min(_SAY_EVERY, self._stalled, self._patience)
        try:
            async with asyncio.timeout(seconds):
                await work
        except TimeoutError:
            if self._confirmed == seen and self._blockings == blockings and not self.blocked:
                self._endure(seconds)

    def _endure(self, seconds: float) -> None:
        """So long again the broker has confirmed nothing."""
        stalls = self._silent // self._stalled
        self._silent += seconds
        if self._silent >= self._patience:
            self._fail(f"{self.unconfirmed} messages were not confirmed within {self._patience:g} s")
            return
        log.warning(
            "Waiting for confirms", unconfirmed=self.unconfirmed, silent_seconds=self._silent, limit=self._patience
        )
        if self._silent // self._stalled > stalls and self._channel is not None:
            self._channel.end(f"nothing confirmed for {self._silent:g} s")
            self._channel.connection.cut()  # a frozen peer takes no goodbye, nor what lies in our buffers

    async def _usable_channel(self) -> ConfirmedChannel | None:
        """The channel, a new one if need be; None if there is none to be had."""
        reason = ""
        try:
            async with asyncio.timeout(self._patience):
                while self._channel is None or self._channel.is_over:
                    try:
                        await self._connect()
                    except BrokerUnavailable as error:
                        reason = str(error)
                        self._trouble.say("Broker unavailable", reason)
                        await asyncio.sleep(next(self._waits))
        except StartRefused as error:
            self._fail(str(error))
        except TimeoutError:
            self._fail(f"{reason}, for {self._patience:g} s")
        return self._channel if self._failure is None else None

    async def _connect(self) -> None:
        await self._connection.aclose()
        connection = await self._connection.enter_async_context(connected(self._broker, name=self._name))
        self._channel = await open_confirmed(connection, on_verdict=self._judge, on_end=self._lose)
        self._waits = self._backoff.delays()
        self._trouble.over("Connected again")

    def _judge(self, message: Message, taken: bool) -> None:
        if taken:
            self._confirmed += 1
            message.about.unconfirmed -= 1
            self._silent = 0.0
        else:
            why = "no queue is bound to it" if message.returned else "the broker refused it"
            self._refused.append(message)
            self._count_attempt(message, why)
        self._condition.notify()

    def _lose(self, orphans: list[Message], reason: str) -> None:
        if orphans:
            log.warning("Publishing again after a lost channel", messages=len(orphans), reason=reason)
        self._refused.extendleft(reversed(orphans))
        for message in orphans:
            self._count_attempt(message, reason)
        self._condition.notify()

    def _count_attempt(self, message: Message, why: str) -> None:
        message.attempts += 1
        message.returned = False
        if message.attempts >= _ATTEMPTS:
            self._fail(f"a message to {_place(message)} was tried {_ATTEMPTS} times: {why}")

    def _fail(self, why: str) -> None:
        self._failure = self._failure or PublishFailed(f"Publishing failed: {why}.")


def _place(message: Message) -> str:
    return f"exchange {message.exchange}" if message.exchange else f"queue {message.routing_key}"


def _message(exchange: str, key: str, outgoing: Outgoing, portion: Portion) -> Message:
    properties = Properties(
        content_type="application/json",
        content_encoding="UTF-8",
        headers=outgoing.headers,
        delivery_mode=2,
        message_id=outgoing.message_id,
    )
    return Message(exchange, properties, outgoing.body, about=portion, routing_key=key)
