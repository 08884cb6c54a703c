"""One kind's deliveries from RabbitMQ.

One connection is one channel is one epoch: whatever ends it, the way back is the same. Connect, declare, consume.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from common.backoff import DEFAULT, Backoff
from common.delivery import Delivery, Epoch
from common.errors import BrokerUnavailable, StartRefused
from common.kinds import Names, Service
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import Connection, broker_errors
from common.rabbitmq.consuming.prefetch import FIRST_WAIT, Prefetch
from common.rabbitmq.consuming.reading import DeliveryReader
from common.rabbitmq.consuming.subscription import CANCEL_LIMIT, PAUSE_LIMIT, Subscription
from common.rabbitmq.reconnecting import STEADY, Reconnecting
from common.telemetry.metrics import KindMetrics
from common.telemetry.trouble import Trouble

log = structlog.get_logger()

_LATER = 0.01  # seconds: the loop's timers may be early by the clock's resolution


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds that a source waits. A test has less time."""

    unread: float = PAUSE_LIMIT
    """For which the socket may stay unread."""
    cancel: float = CANCEL_LIMIT
    """For which the broker may take to answer that it sends no more."""
    narrow: float = FIRST_WAIT
    """For which a narrow prefetch lasts at least."""
    steady: float = STEADY
    """That a connection must have lasted for the next one to be tried at once."""
    backoff: Backoff = DEFAULT
    """Before another connection is tried."""


_WAITS = Waits()


class _EpochLost(BrokerUnavailable):
    """An epoch ended unasked."""


class RabbitSource:
    """A `Source`. `run()` is its task and lasts until `close()`; everything else may be called at any time."""

    def __init__(
        self,
        broker: BrokerAccess,
        names: Names,
        service: Service,
        kind: str,
        *,
        prefetch: int,
        max_bytes: int,
        consumer_timeout: float,
        metrics: KindMetrics,
        reader: type[DeliveryReader],
        waits: Waits = _WAITS,
    ) -> None:
        """`max_bytes`: above this many unsettled bytes the socket is not read. `consumer_timeout`: seconds after which
        the broker may take a delivery back; it must be longer than the hold limit. `reader`: how an epoch's deliveries
        are read."""
        self._broker, self._names, self._service, self._kind = broker, names, service, kind
        self._prefetch = Prefetch(prefetch, first_wait=waits.narrow)
        self._max_bytes, self._consumer_timeout = max_bytes, consumer_timeout
        self._metrics, self._reader, self._waits = metrics, reader, waits
        self._log = log.bind(data_type=kind)
        self._condition = Condition()
        self._subscription: Subscription | None = None
        self._epochs = 0
        self._was_usable = False
        self._lost = False
        self._reconnecting = Reconnecting(steady=waits.steady, backoff=waits.backoff)
        self._trouble = Trouble(self._log)
        self._differences: list[str] = []
        self._is_away = False
        self._is_stopped = False
        self._is_drained = False
        self._is_closed = False

    @property
    def connected(self) -> bool:
        """Whether deliveries can arrive now."""
        return self._subscription is not None and self._subscription.end_reason is None and not self._is_stopped

    @property
    def unsettled(self) -> int:
        """How many deliveries of the current epoch await their answer."""
        return self._subscription.unsettled if self._subscription else 0

    @property
    def oldest(self) -> float | None:
        """`received` of the oldest unsettled delivery; None if there is none."""
        return self._subscription.oldest if self._subscription else None

    async def receive(self) -> Sequence[Delivery]:
        """Everything that has arrived, at least one delivery; empty only once stopped and drained."""
        await self._condition.until(lambda: self._has_arrived or self._is_drained)
        return self._subscription.take() if self._subscription else []

    def settle(self, deliveries: Iterable[Delivery]) -> None:
        """Mark as finished; the source acknowledges. Those of an ended epoch are passed over."""
        if self._subscription:
            self._subscription.settle(deliveries)

    async def until_settled(self) -> None:
        """Return once no delivery awaits its answer: each is settled, or has expired."""
        await self._condition.until(lambda: not self.unsettled)

    async def hand_back(self) -> None:
        """Give every unsettled delivery back, what is settled excepted."""
        self._is_away = True
        if self._subscription:
            await self._subscription.finish()
        self._condition.notify()

    async def resume(self) -> None:
        """Consume again, as a new epoch."""
        self._is_away = False
        self._condition.notify()

    def stop(self) -> None:
        """Ask the broker for no more: what has arrived can still be received and settled."""
        self._is_stopped = True
        self._is_drained = self._subscription is None
        self._condition.notify()

    async def close(self) -> None:
        """Acknowledge what is settled, give the rest back, and let `run()` return. Takes a few seconds at most."""
        self._is_stopped = self._is_drained = True
        if self._subscription:
            await self._subscription.finish()
        self._is_closed = True
        self._condition.notify()

    async def run(self) -> None:
        """Connect, consume and connect again, until closed.

        Raises: StartRefused if the broker can't be used as it is; only before the first success.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                consuming = tasks.create_task(self._consume(), name=f"{self._kind} consumer")
                await self._condition.until(lambda: self._is_closed)
                consuming.cancel()  # it may be waiting for a broker that is not there
        finally:
            self._trouble.leave()

    @property
    def _has_arrived(self) -> bool:
        subscription = self._subscription
        return subscription is not None and subscription.waiting > 0 and not subscription.epoch.ended

    async def _consume(self) -> None:
        while not self._is_stopped:
            self._reconnecting.begin()
            try:
                await self._live()
            except BrokerUnavailable as error:
                event = "Consumer lost" if isinstance(error, _EpochLost) else "Broker unavailable"
                self._trouble.say(event, str(error))
                await self._wait(self._reconnecting.delay())
            except StartRefused as error:
                if not self._was_usable:
                    raise
                self._trouble.say("Broker can't be used", str(error), level="error")
                await self._wait(self._reconnecting.delay())
            else:
                await self._condition.until(lambda: self._is_stopped or not self._is_away)
        self._trouble.leave()
        self._is_drained = True
        self._condition.notify()

    async def _live(self) -> None:
        """Live through one epoch, if it is still wanted once it could begin.

        Raises: BrokerUnavailable, also for an epoch that ended unasked; StartRefused.
        """
        name = f"spindle {self._service} {self._kind}"
        async with self._broker.connected(name=name, make=self._reader.connection_type) as connection:
            declared = await self._broker.declare(connection, self._names, self._service, self._kind)
            self._note(declared.differences)
            if self._is_idle:  # what is consumed for a moment comes again, each time one redelivery nearer to its limit
                self._trouble.over("Connected again")
                self._was_usable = True
                return
            subscription = await self._begin(connection, declared.queue_type)
            self._trouble.over("Connected again")
            try:
                if not self._is_idle:
                    await self._attend(subscription)
                await subscription.finish()
            finally:
                self._end(subscription)
        if self._is_missed(subscription):
            raise _EpochLost(subscription.end_reason)

    @property
    def _is_idle(self) -> bool:
        """Whether nothing is to be consumed now."""
        return self._is_stopped or self._is_away

    def _is_missed(self, subscription: Subscription) -> bool:
        """Whether an epoch ended that should go on. One that was handed back may be asked for again by now."""
        return not (self._is_idle or subscription.was_ended)

    async def _begin(self, connection: Connection, queue_type: str) -> Subscription:
        epoch = Epoch(self._epochs + 1)
        with broker_errors(connection.address):
            channel = await self._broker.open_channel(connection)
            subscription = Subscription(
                connection,
                channel,
                self._reader(connection, channel),
                epoch,
                prefetch=self._prefetch.size,
                max_bytes=self._max_bytes,
                condition=self._condition,
                pause_limit=self._waits.unread,
                cancel_limit=self._waits.cancel,
            )
            queue = self._names.queue(self._service, self._kind)
            await subscription.start(queue, self._arguments(connection, queue_type))
        return subscription

    def _arguments(self, connection: Connection, queue_type: str) -> dict[str, Any]:
        # The timeout is the consumer's argument, not the queue's: a queue keeps its arguments forever, a consumer
        # takes it from today's settings. RabbitMQ knows it since 3.12; before that, a node has one timeout for all.
        if connection.broker_version < (3, 12) or queue_type != "quorum":
            return {}
        return {"x-consumer-timeout": int(self._consumer_timeout * 1000)}

    async def _attend(self, subscription: Subscription) -> None:
        """Receive and acknowledge until the epoch ends; after a stop, acknowledge only."""
        self._subscription = subscription
        if self._lost:
            self._metrics.reconnected()
        self._epochs, self._lost, self._was_usable = subscription.epoch.number, True, True
        self._log.info("Consuming", queue=self._names.queue(self._service, self._kind))
        self._condition.notify()
        if self._prefetch.is_narrow:  # at that moment nothing may be settled that would have somebody look
            asyncio.get_running_loop().call_at(self._prefetch.narrow_until + _LATER, self._condition.notify)
        async with asyncio.TaskGroup() as tasks:
            acknowledging = tasks.create_task(subscription.acknowledge(), name=f"{self._kind} acknowledgements")
            await self._condition.until(
                lambda: subscription.end_reason or self._is_stopped or self._may_widen(subscription)
            )
            if subscription.end_reason is None and self._is_stopped:
                await subscription.cancel()
                self._is_drained = True
                self._condition.notify()
                await self._condition.until(lambda: subscription.end_reason)
            acknowledging.cancel()

    def _may_widen(self, subscription: Subscription) -> bool:
        return self._prefetch.may_widen(subscription.settled, asyncio.get_running_loop().time())

    def _end(self, subscription: Subscription) -> None:
        subscription.end("closed")
        self._metrics.expired(subscription.waiting)  # nobody will ever receive them
        self._subscription = None
        if subscription.overfull:
            self._prefetch.narrow(subscription.overfull, asyncio.get_running_loop().time())
        elif self._may_widen(subscription):
            self._prefetch.widen()
            self._log.info("Asking for the whole prefetch again", prefetch=self._prefetch.size)
        self._lost = self._is_missed(subscription)
        self._is_drained = self._is_stopped
        self._condition.notify()

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._condition.until(lambda: self._is_stopped)

    def _note(self, differences: list[str]) -> None:
        """Warn of a topology that is not as we would have made it; once, not at every reconnect."""
        if differences and differences != self._differences:
            self._log.warning("Topology differs", differences="; ".join(differences))
        self._differences = differences
