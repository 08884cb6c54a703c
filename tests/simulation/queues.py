"""The broker's side of a queue: what waits, who consumes, what each has not answered, and how returns are counted."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

from tests.simulation.messages import Message


class Version(StrEnum):
    """The generations of RabbitMQ that count differently."""

    V3_10 = "3.10.8"
    V4_0 = "4.0.5"
    V4_3 = "4.3.6"

    @property
    def default_limit(self) -> int | None:
        """Returns after which a message is dropped, where the queue's arguments say nothing."""
        return None if self is Version.V3_10 else 20


class Back(StrEnum):
    """Why a message comes back to its queue."""

    CHANNEL = "channel"
    NACK = "nack"
    REJECT = "reject"
    TIMEOUT = "timeout"

    def counts(self, version: Version) -> bool:
        """Whether `x-delivery-count` counts it: since 4.3 a nack is no failed delivery."""
        return not (self is Back.NACK and version is Version.V4_3)


class Waiting:
    """A message in a queue, and how often it has been given back."""

    __slots__ = ("count", "message")

    def __init__(self, message: Message) -> None:
        self.message, self.count = message, message.returned


class Receiver(Protocol):
    """Where a consumer's deliveries go."""

    def deliver(self, burst: list[tuple[int, Waiting]]) -> None:
        """Send a burst of deliveries, each with its tag, on its way."""

    def timed_out(self, consumer: "Consumer") -> None:
        """The oldest delivery has waited for its answer too long."""


class Consumer:
    """A consumer as the broker knows it."""

    def __init__(self, queue: "Queue", receiver: Receiver, *, prefetch: int, timeout: float) -> None:
        self.queue, self.receiver, self.prefetch, self.timeout = queue, receiver, prefetch, timeout
        self.unanswered: dict[int, tuple[Waiting | None, float]] = {}
        """By tag, in order: the message, or None if it was taken back already, and when it was given out."""
        self.is_active = True
        self._tag = 0
        self._loop = asyncio.get_running_loop()
        self._clock: asyncio.TimerHandle | None = None

    def give(self, messages: Sequence[Waiting]) -> None:
        """Give messages out."""
        burst, now = [], self._loop.time()
        for waiting in messages:
            self._tag += 1
            self.unanswered[self._tag] = waiting, now
            burst.append((self._tag, waiting))
        self.receiver.deliver(burst)
        if self._clock is None:
            self._clock = self._loop.call_at(now + self.timeout, self._check_age)

    def answer(self, tag: int, *, multiple: bool) -> list[Waiting | None] | None:
        """Take the messages that an acknowledgement covers; None if it names a tag that is not outstanding."""
        if tag not in self.unanswered:
            return None
        tags = [each for each in self.unanswered if each <= tag] if multiple else [tag]
        return [self.unanswered.pop(each)[0] for each in tags]

    def end(self, why: Back = Back.CHANNEL) -> None:
        """Take everything back that has no answer."""
        self.is_active = False
        if self._clock is not None:
            self._clock.cancel()
        messages = [waiting for waiting, _ in self.unanswered.values() if waiting is not None]
        if why is Back.TIMEOUT:
            self.unanswered = {tag: (None, since) for tag, (_, since) in self.unanswered.items()}
        else:
            self.unanswered.clear()
        self.queue.leave(self)
        self.queue.take_back(messages, why)

    def _check_age(self) -> None:
        self._clock = None
        if not self.is_active or not self.unanswered:
            return
        _, since = next(iter(self.unanswered.values()))
        if self._loop.time() >= since + self.timeout - 1e-6:
            self.receiver.timed_out(self)
        else:
            self._clock = self._loop.call_at(since + self.timeout, self._check_age)


class Queue:
    """A quorum queue."""

    def __init__(self, version: Version, *, dropped: Callable[[Message], None]) -> None:
        """`dropped`: told of a message that has been returned more often than the limit allows."""
        self._version, self._dropped = version, dropped
        self.limit = version.default_limit
        self._ready: deque[Waiting] = deque()
        self._returned: deque[Waiting] = deque()
        self._consumers: deque[Consumer] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is out."""
        return not (self._ready or self._returned or any(each.unanswered for each in self._consumers))

    @property
    def unanswered(self) -> int:
        """Messages that are out."""
        return sum(len(each.unanswered) for each in self._consumers)

    def publish(self, messages: Sequence[Message]) -> None:
        """Add to the tail."""
        self._ready.extend(map(Waiting, messages))
        self.give_out()

    def attach(self, consumer: Consumer) -> None:
        """Begin to give messages to a consumer."""
        self._consumers.append(consumer)
        self.give_out()

    def leave(self, consumer: Consumer) -> None:
        """Give a consumer nothing more."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    def take_back(self, messages: Sequence[Waiting], why: Back) -> None:
        """What comes back is given out before everything else, in the order in which it came back."""
        for waiting in messages:
            waiting.count += why.counts(self._version)
            if self.limit is not None and waiting.count > self.limit:
                self._dropped(waiting.message)
            else:
                (self._ready if why is Back.NACK else self._returned).append(waiting)
        self.give_out()

    def give_out(self) -> None:
        """Give out what the consumers have room for, in turn."""
        for _ in range(len(self._consumers)):
            if not (self._ready or self._returned):
                return
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            room = consumer.prefetch - len(consumer.unanswered)
            share = -(-(len(self._ready) + len(self._returned)) // len(self._consumers))
            if consumer.is_active and room > 0:
                consumer.give([self._next() for _ in range(min(room, share))])

    def _next(self) -> Waiting:
        return self._returned.popleft() if self._returned else self._ready.popleft()
