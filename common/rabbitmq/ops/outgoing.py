"""Letters on their way to a queue: copies to the end of their own, and those that are sent elsewhere."""

from collections import deque
from typing import NamedTuple

from common.errors import BrokerUnavailable
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import Connection
from common.rabbitmq.ops.fates import Fate, Send
from common.rabbitmq.ops.patience import patience
from common.rabbitmq.ops.queue_reader import StoredLetter
from common.rabbitmq.publishing.confirms import ConfirmedChannel, Message, open_confirmed
from common.rabbitmq.publishing.letter import publishable


class Taken(NamedTuple):
    """A letter with the number under which it is acknowledged, and what is to become of it."""

    number: int
    letter: StoredLetter
    fate: Fate | None = None
    """None until it is judged."""


class Outgoing:
    """Each letter that is put in here ends in `done` or in `refused`."""

    def __init__(self, connection: Connection, queue: str, condition: Condition) -> None:
        self._connection, self._queue, self._condition = connection, queue, condition
        self._outbox: deque[Message] = deque()
        self._channel: ConfirmedChannel | None = None
        self.done: set[int] = set()
        """Numbers of letters that the broker has confirmed elsewhere: theirs may be acknowledged."""
        self.refused: deque[Taken] = deque()
        """Letters that their queue did not take."""
        self.pending = 0
        """How many have no verdict yet."""
        self.failure = ""

    async def open(self) -> None:
        """Open the channel. It is to outlive that of the letters: while one is held no copy is without its verdict."""
        self._channel = await open_confirmed(self._connection, on_verdict=self._hear, on_end=self._lose)

    def put(self, taken: Taken) -> None:
        """Have a letter written: a copy of one that stays, or one that is sent."""
        fate, letter = taken.fate, taken.letter
        queue, properties, body = self._queue, letter.properties, letter.body
        if isinstance(fate, Send):
            queue, properties = fate.queue, fate.properties
            body = letter.body if fate.body is None else fate.body
        self._outbox.append(Message("", publishable(properties), body, about=taken, routing_key=queue))
        self.pending += 1

    async def write(self) -> None:
        """Hand everything to the socket.

        Raises: BrokerUnavailable.
        """
        if self.failure:
            raise BrokerUnavailable(f"{self._queue}: {self.failure}")
        if self._outbox and self._channel is not None:
            async with patience(self._connection):
                await self._channel.write(self._outbox)

    def _hear(self, message: Message, taken: bool) -> None:
        about: Taken = message.about
        self.pending -= 1
        if isinstance(about.fate, Send):
            about.fate.done(taken)
        if taken:
            self.done.add(about.number)
        else:
            self.refused.append(about)
        self._condition.notify()

    def _lose(self, _: list[Message], reason: str) -> None:
        self.failure = self.failure or reason
        self._condition.notify()
