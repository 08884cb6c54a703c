"""The consumers' queues, seen from the producer: that they exist, and that they do not grow without bound.

A message to a fanout with at least one queue counts as routed, whether or not the other service's queue exists: so a
producer that means both has to look.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import structlog

from common.backoff import Backoff
from common.errors import BrokerUnavailable, SpindleError, StartRefused
from common.rabbitmq.connection import Connection, connected
from common.rabbitmq.topology import declare_exchanges, queue_lengths
from common.settings.programs import BrokerSettings
from extractor.settings import ExtractorSettings

log = structlog.get_logger()

CHECK_INTERVAL = 1.0
"""Seconds between two looks at a queue's length."""

BACKOFF = Backoff(base=0.2)
"""Between two looks for the queues before anything is published."""

_WATCH_INTERVAL = 5.0
"""Seconds between two looks beside those: a queue that is deleted takes along the confirms that are waited for."""


class QueueGone(SpindleError):
    """A queue that existed at the start does not exist any more: what was published since has not reached it."""


def required_queues(settings: ExtractorSettings, kinds: Sequence[str]) -> list[str]:
    """The queues that must exist for these kinds."""
    return [settings.names.queue(service, kind) for kind in kinds for service in settings.extractor_require]


async def wait_for_queues(settings: ExtractorSettings, kinds: Sequence[str], *, patience: float) -> None:
    """Declare the exchanges and wait, for `patience` seconds at the most, until every required queue exists.

    Raises: StartRefused with a sentence that names what is missing.
    """
    lacking = f"RabbitMQ at {settings.broker.address} did not answer"
    waits, deadline = BACKOFF.delays(), time.monotonic() + patience
    while True:
        try:
            missing = await _missing(settings, kinds)
        except BrokerUnavailable as error:
            lacking = str(error)
        else:
            if not missing:
                return
            lacking = f"these queues do not exist: {', '.join(missing)}"
        if time.monotonic() >= deadline:
            raise StartRefused(
                f"Nothing was published: {lacking}. Start the services first, or name those that run in "
                "EXTRACTOR_REQUIRE."
            )
        log.warning("Waiting before publishing", reason=lacking)
        await asyncio.sleep(min(next(waits), max(0.0, deadline - time.monotonic())))


def share_of_backlog(settings: ExtractorSettings, load_kinds: Sequence[str]) -> int:
    """How many messages may wait in one kind's queues together.

    All kinds of a load have the same share of the whole: it is the broker's memory that they share, and a kind whose
    store is slow must not stop the others.
    """
    return max(1, settings.extractor_max_backlog // len(load_kinds))


class Backlog:
    """The required queues of one kind while it is published.

    An async context manager, whose body is ended when one of them is deleted (QueueGone) or may not be looked at any
    more (StartRefused), whatever it waits for.
    """

    def __init__(self, broker: BrokerSettings, queues: Sequence[str], *, limit: int, name: str) -> None:
        """`limit`: messages that may wait in all these queues together."""
        self._broker, self._queues, self._limit, self._name = broker, queues, limit, name
        self._stack = AsyncExitStack()
        self._connection: Connection | None = None
        self._looked = -CHECK_INTERVAL
        self._asking = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None
        self._problem: Exception | None = None
        self._cancelling = 0

    async def __aenter__(self) -> Self:
        body = asyncio.current_task()
        assert body is not None  # noqa: S101 (for mypy: a coroutine that runs is run by a task)
        self._cancelling = body.cancelling()
        # No TaskGroup: it would put whatever the body raises into a group.
        self._watcher = asyncio.create_task(self._watch(body))
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        body = asyncio.current_task()
        assert body is not None  # noqa: S101 (for mypy: as above)
        assert self._watcher is not None  # noqa: S101 (for mypy: made on entering)
        try:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        except asyncio.CancelledError:
            if self._problem is None:
                raise
        finally:
            await self._stack.aclose()
        if self._problem is None:
            return
        others = body.uncancel() - self._cancelling
        if isinstance(error, asyncio.CancelledError) and others:
            return  # somebody else has cancelled it too, and comes first
        if error is None or isinstance(error, Exception | asyncio.CancelledError):
            raise self._problem from error

    async def wait_for_room(self, on_pause: Callable[[], None]) -> None:
        """Return at once if the last look was short ago; else look, and wait while too much waits in the queues.

        Raises: QueueGone, StartRefused.
        """
        if time.monotonic() - self._looked < CHECK_INTERVAL:
            return
        paused = False
        while (waiting := await self.length()) > self._limit:
            if not paused:
                log.info("Paused: the queues are too long", limit=self._limit, waiting=waiting)
            paused = True
            on_pause()
            await asyncio.sleep(CHECK_INTERVAL)
        if paused:
            log.info("Publishing again")
        self._looked = time.monotonic()

    async def length(self) -> int:
        """How many messages wait in all the queues together; 0 while the broker can't be asked: the publisher's affair.

        Raises: QueueGone, StartRefused.
        """
        if not self._queues:
            return 0
        async with self._asking:
            return await self._length()

    async def _length(self) -> int:
        try:
            if self._connection is None:
                self._connection = await self._stack.enter_async_context(connected(self._broker, name=self._name))
            lengths = await queue_lengths(self._connection, self._queues)
        except BrokerUnavailable:
            await self._stack.aclose()
            self._connection = None
            return 0
        if gone := [queue for queue, length in lengths.items() if length is None]:
            raise QueueGone(f"{', '.join(gone)} does not exist any more: the load has to be published again")
        return sum(length for length in lengths.values() if length is not None)

    async def _watch(self, body: "asyncio.Task[object]") -> None:
        while True:
            await asyncio.sleep(_WATCH_INTERVAL)
            try:
                await self.length()
            except Exception as problem:  # noqa: BLE001 (whatever it is: nobody would watch the body any more)
                self._problem = problem
                body.cancel()
                return


async def _missing(settings: ExtractorSettings, kinds: Sequence[str]) -> list[str]:
    async with connected(settings.broker, name="extractor") as connection:
        for difference in await declare_exchanges(connection, settings.names, kinds):
            log.warning(difference)
        lengths = await queue_lengths(connection, required_queues(settings, kinds))
    return [queue for queue, length in lengths.items() if length is None]
