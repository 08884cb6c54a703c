"""Go once through a dead-letter queue, so that what stays in it stands afterwards as it stood before.

A broker counts a message that is taken and given back as delivered once more, whichever way it is given back (by close,
cancel, nack, recover or get: tried on 3.10 and 4.0), and beyond a queue's limit it drops it. So a letter that stays is
not given back: a copy goes to the end of the queue, and the letter is acknowledged once the broker has confirmed the
copy. After a whole turn all stand in their order again. One that is interrupted leaves every letter in the queue, some
of them twice, and the order turned; the caller tells twins by their number and body.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiormq.exceptions import ChannelLockedResource

from common.delivery import Properties
from common.errors import BrokerUnavailable, StartRefused
from common.rabbitmq.channel import open_channel
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import ANSWER_TIMEOUT, CLOSE_TIMEOUT, Connection, broker_errors, connected
from common.rabbitmq.ops.queue_reader import StoredLetter, Taking, taking
from common.rabbitmq.publishing.confirms import ConfirmedChannel, Message, open_confirmed
from common.rabbitmq.publishing.letter import publishable
from common.rabbitmq.topology import GRANTS, queue_lengths
from common.settings.programs import BrokerSettings

WINDOW = 64
"""Letters on their way at a time: at the most so many are in the queue twice after a crash."""

PERMISSIONS = (
    "to read the dead-letter queue, to configure that name with .turn behind it, and to write to amq.default "
    f"(spindle_operator in {GRANTS})"
)
"""What a turn needs: the lock is a queue, and what goes to a queue goes by the default exchange."""

PATIENCE = 30.0
"""Seconds without a letter or a confirm after which a turn is given up."""


@dataclass(frozen=True, slots=True)
class Keep:
    """The letter stays."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The letter goes, for good."""


@dataclass(frozen=True, slots=True)
class Send:
    """The letter goes to another queue, with these properties; `done` is told whether that queue took it.

    Where it did not, the letter stays.
    """

    queue: str
    properties: Properties
    done: Callable[[bool], None]


Fate = Keep | Drop | Send
Judge = Callable[[StoredLetter], Fate]
OnDone = Callable[[int, int], None]
"""Told how many letters are done, of how many."""


async def turn(
    broker: BrokerSettings,
    queue: str,
    judge: Judge,
    *,
    window: int = WINDOW,
    on_done: OnDone = lambda _done, _total: None,
    pace: float = 0.0,
) -> int | None:
    """Go once through a queue: `judge` says of each letter, in order, what becomes of it.

    `pace`: seconds between two letters that are sent elsewhere. Returns: how many letters the queue held; None where
    there is no such queue.
    Raises: BrokerUnavailable, StartRefused. What is not done then is as it was: a turn may simply be begun again.
    """
    async with connected(broker, name="spindle dead letters") as connection, _alone_with(connection, queue):
        total = (await queue_lengths(connection, [queue]))[queue]
        if total:
            await _Turn(connection, queue, judge, total, min(window, total), pace, on_done).run()
        return total


async def glance(
    broker: BrokerSettings, queue: str, see: Callable[[StoredLetter], object], *, limit: int
) -> int | None:
    """Look at a queue's first letters without writing anything, for a broker that takes no messages now.

    Each letter's count of deliveries rises by one. Returns and raises as `turn`.
    """
    async with connected(broker, name="spindle dead letters") as connection, _alone_with(connection, queue):
        total = (await queue_lengths(connection, [queue]))[queue]
        condition, seen = Condition(), 0
        if total:
            async with taking(connection, queue, prefetch=min(total, limit), condition=condition) as letters:
                while seen < min(total, limit):
                    await _until(connection, condition, letters, lambda: letters.has_arrived)
                    while (letter := letters.take()) is not None:
                        see(letter)
                        seen += 1
        return total


class _Turn:
    """One turn, which takes exactly as many letters as the queue held at its beginning."""

    def __init__(
        self,
        connection: Connection,
        queue: str,
        judge: Judge,
        total: int,
        window: int,
        pace: float,
        on_done: OnDone,
    ) -> None:
        self._connection, self._queue, self._judge, self._pace = connection, queue, judge, pace
        self._total, self._window, self._on_done = total, window, on_done
        self._condition = Condition()
        self._outbox: deque[Message] = deque()
        self._done: set[int] = set()
        self._taken = self._finished = self._acknowledged = 0
        self._failure = ""

    async def run(self) -> None:
        condition = self._condition
        # The copies' channel outlives the letters': while one is open no copy is without its verdict.
        copies = await open_confirmed(self._connection, on_verdict=self._hear, on_end=self._lose)
        async with taking(self._connection, self._queue, prefetch=self._window, condition=condition) as letters:
            while self._finished < self._total:
                await _until(self._connection, condition, letters, lambda: self._is_work(letters))
                await self._send(letters, copies)
                self._count()
                # Each acknowledgement brings a letter, and beyond the last come the copies: those are left alone.
                await self._acknowledge(letters, min(self._finished, self._total - self._window))
            await letters.cancel()
            await self._acknowledge(letters, self._total)

    def _is_work(self, letters: Taking) -> bool:
        return bool(self._failure or self._outbox or (self._finished + 1) in self._done or letters.has_arrived)

    async def _send(self, letters: Taking, copies: ConfirmedChannel) -> None:
        while not self._failure and self._taken < self._total and (letter := letters.take()) is not None:
            self._taken += 1
            fate = self._judge(letter)
            if isinstance(fate, Drop):
                self._done.add(self._taken)
                continue
            self._outbox.append(self._message(self._taken, letter, fate))
            if isinstance(fate, Send) and self._pace:
                await self._write(copies)
                await asyncio.sleep(self._pace)
        await self._write(copies)

    async def _write(self, copies: ConfirmedChannel) -> None:
        if self._failure:
            raise BrokerUnavailable(f"{self._queue}: {self._failure}")
        async with _patience(self._connection):
            await copies.write(self._outbox)

    def _message(self, number: int, letter: StoredLetter, fate: Keep | Send) -> Message:
        queue, properties = (
            (fate.queue, fate.properties) if isinstance(fate, Send) else (self._queue, letter.properties)
        )
        return Message("", publishable(properties), letter.body, about=(number, letter, fate), routing_key=queue)

    def _hear(self, message: Message, taken: bool) -> None:
        number, letter, fate = message.about
        if isinstance(fate, Send):
            fate.done(taken)
        if taken:
            self._done.add(number)
        elif isinstance(fate, Send):
            self._outbox.append(self._message(number, letter, Keep()))
        else:
            self._lose([], "the broker refuses the copy of a letter that stays")
        self._condition.notify()

    def _lose(self, _: list[Message], reason: str) -> None:
        self._failure = self._failure or reason
        self._condition.notify()

    def _count(self) -> None:
        """See how many letters are done without a gap."""
        while (self._finished + 1) in self._done:
            self._finished += 1
            self._done.remove(self._finished)
        self._on_done(self._finished, self._total)

    async def _acknowledge(self, letters: Taking, number: int) -> None:
        if number > self._acknowledged:
            self._acknowledged = number
            await letters.acknowledge(number)


async def _until(connection: Connection, condition: Condition, letters: Taking, fact: Callable[[], bool]) -> None:
    """Wait for something to do.

    Raises: BrokerUnavailable where nothing comes.
    """
    async with _patience(connection):
        await condition.until(lambda: letters.over or fact())
    if letters.over:
        raise BrokerUnavailable(f"RabbitMQ at {connection.address}: {letters.over}")


@asynccontextmanager
async def _patience(connection: Connection) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError as error:
        blocked = not connection.unblocked.is_set()
        what = "the broker takes no messages (memory or disk alarm)" if blocked else "nothing came"
        raise BrokerUnavailable(f"RabbitMQ at {connection.address}: {what}, for {PATIENCE:g} s") from error


@asynccontextmanager
async def _alone_with(connection: Connection, queue: str) -> AsyncIterator[None]:
    """Have no second turn of a queue: an exclusive queue stands for the lock.

    It ends with the connection, and is deleted before: a broker takes its time to notice the end of a connection.
    """
    lock = f"{queue}.turn"
    try:
        with broker_errors(connection.address, ChannelLockedResource):
            channel = await open_channel(connection)
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await channel.queue_declare(lock, exclusive=True, auto_delete=True)
        yield
        with broker_errors(connection.address):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await channel.queue_delete(lock)
    except ChannelLockedResource as error:
        raise StartRefused(f"{queue} is being worked on by another spindle dead-letters; wait for its end.") from error
    except BrokerUnavailable as error:
        if "ACCESS_REFUSED" in str(error):  # also of what was sent, which the broker refuses later
            raise StartRefused(f"{error}; working on dead letters takes permission {PERMISSIONS}.") from error
        raise
