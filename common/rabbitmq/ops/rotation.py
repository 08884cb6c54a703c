"""Go once through a dead-letter queue: every letter is judged once, and what stays is there afterwards as before.

A broker counts a message that is taken and given back as delivered once more, whichever way it is given back (by close,
cancel, nack, recover or get: tried on 3.10 and 4.0, by close and nack on 4.3), and beyond a queue's limit it drops it.
So a letter that stays is not given back: a copy goes to the end of the queue, and the letter is acknowledged once the
broker has confirmed the copy (copying.py). After a whole pass all stand in their order again.

That needs a queue that is first in, first out. With priorities, with letters that expire, or with somebody else who
takes some, a pass meets its own copies, and can't tell them from letters that are there twice. At the first such sign
the rest is held instead, all at the same time (holding.py). Nothing is dropped but what the caller drops, and a twin of
which the other is held at that moment (sightings.py). A pass that is interrupted leaves every letter in the queue,
some of them twice; the next one meets them, and drops one of each two.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiormq.exceptions import ChannelLockedResource

from common.errors import BrokerUnavailable, StartRefused
from common.rabbitmq.channel import open_channel
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import ANSWER_TIMEOUT, CLOSE_TIMEOUT, Connection, broker_errors, connected
from common.rabbitmq.ops.copying import Copying
from common.rabbitmq.ops.fates import Fate, Judge, OnDone
from common.rabbitmq.ops.holding import RENEWED_AT, Hold
from common.rabbitmq.ops.outgoing import Outgoing, Taken
from common.rabbitmq.ops.queue_reader import StoredLetter, taking
from common.rabbitmq.ops.sightings import Sightings
from common.rabbitmq.topology import GRANTS, queue_lengths
from common.settings.programs import BrokerSettings

WINDOW = 64
"""Letters on their way at a time: at the most so many are in the queue twice after a crash."""

PERMISSIONS = (
    "to read the dead-letter queue, to configure that name with .turn behind it, and to write to amq.default "
    f"(spindle_operator in {GRANTS})"
)
"""What a pass needs: the lock is a queue, and what goes to a queue goes by the default exchange."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What a pass has found."""

    total: int
    """Letters that the queue had ready at the beginning."""
    disorder: str = ""
    """Why letters were held instead of copied; empty if all could be copied."""
    twins: int = 0
    """Letters that were there twice, of which one was dropped."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to go through a queue."""

    window: int = WINDOW
    pace: float = 0.0
    """Seconds between two letters that are sent elsewhere."""
    disorder: str = ""
    """Why the queue is known not to be first in, first out: its letters are held from the beginning."""
    renewed_at: int | None = RENEWED_AT
    """Times that a letter may be given back before it is copied; None: nothing is written, and no twin dropped."""


async def go_through(
    broker: BrokerSettings,
    queue: str,
    judge: Judge,
    way: Way = Way(),
    *,
    on_done: OnDone = lambda _done, _total: None,
) -> Passed | None:
    """Go once through a queue: `judge` says of each letter, in order, what becomes of it.

    Returns: None if there is no such queue.
    Raises: BrokerUnavailable, StartRefused. What is not done then is as it was: the pass may simply be begun again.
    """
    async with connected(broker, name="spindle dead letters") as connection, _alone_with(connection, queue):
        total = (await queue_lengths(connection, [queue]))[queue]
        if total is None:
            return None
        if not total:
            return Passed(0)
        try:
            return await _Pass(connection, queue, _told_apart(judge), way, total, on_done).run()
        except _JudgeFailed as failed:
            raise failed.error from failed


class _JudgeFailed(Exception):
    """The caller's own error: a reader that has gone, a full disk. Else it would be taken for the broker's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _told_apart(judge: Judge) -> Judge:
    def judging(letter: StoredLetter) -> Fate:
        try:
            return judge(letter)
        except Exception as error:  # whatever it is, it is not ours
            raise _JudgeFailed(error) from error

    return judging


class _Pass:
    """Copy while the order allows it, and hold the rest."""

    def __init__(self, connection: Connection, queue: str, judge: Judge, way: Way, total: int, on_done: OnDone) -> None:
        self._connection, self._queue, self._judge, self._way = connection, queue, judge, way
        self._total, self._on_done = total, on_done
        self._sightings = Sightings()

    async def run(self) -> Passed:
        condition, disorder = Condition(), self._way.disorder
        outgoing = Outgoing(self._connection, self._queue, condition)
        await outgoing.open()
        async with taking(self._connection, self._queue, condition=condition) as letters:
            held: list[Taken] = []
            copying = self._copying(outgoing)
            if not disorder:
                await letters.consume(min(self._way.window, self._total))
                held = await copying.run(letters, condition)
                disorder = copying.disorder
            if not disorder:
                return Passed(self._total)
            hold = self._hold(outgoing, self._total - copying.judged)
            await hold.run(letters, condition, held)
            return Passed(self._total, disorder, hold.twins)

    def _copying(self, outgoing: Outgoing) -> Copying:
        return Copying(
            self._connection,
            self._judge,
            self._sightings,
            outgoing,
            total=self._total,
            window=min(self._way.window, self._total),
            pace=self._way.pace,
            on_done=self._on_done,
        )

    def _hold(self, outgoing: Outgoing, expected: int) -> Hold:
        return Hold(
            self._connection,
            self._judge,
            self._sightings,
            outgoing,
            expected=expected,
            renewed_at=self._way.renewed_at,
            pace=self._way.pace,
            on_done=self._on_done,
        )


@asynccontextmanager
async def _alone_with(connection: Connection, queue: str) -> AsyncIterator[None]:
    """Have no second pass of a queue: an exclusive queue is the lock.

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
