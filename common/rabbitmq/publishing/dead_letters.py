"""Publish dead letters, each confirmed before its original is settled.

On a connection of their own: a broker that blocks publishers blocks whole connections, and consuming goes on.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import structlog

from common.backoff import DEFAULT, Backoff
from common.dead_letters import DeadLetter
from common.errors import BrokerUnavailable, StartRefused
from common.kinds import Names, Service
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import Connection
from common.rabbitmq.publishing.confirms import ConfirmedChannel, Message, open_confirmed
from common.rabbitmq.publishing.letter import properties_of
from common.rabbitmq.reconnecting import STEADY, Reconnecting
from common.telemetry.metrics import DEAD_LETTERS_UNCONFIRMED, PUBLISHING_BLOCKED
from common.telemetry.trouble import Trouble

log = structlog.get_logger()

_OVER = "Dead letters are taken again"

_AT_ONCE = 100
"""Letters handed to the socket together; those that expire before their turn are not published at all."""


class DeadLetterPublisher:
    """Where a service's dead letters go. `run()` is its task, which may be cancelled at any time.

    A letter is kept and tried again for as long as its delivery has not expired: its record is held until then.
    """

    def __init__(
        self,
        broker: BrokerAccess,
        names: Names,
        service: Service,
        *,
        on_confirmed: Callable[[DeadLetter], None],
        steady: float = STEADY,
        backoff: Backoff = DEFAULT,
    ) -> None:
        """`on_confirmed` settles the original, or counts it if its delivery expired before the confirm."""
        self._broker, self._names, self._service = broker, names, service
        self._on_confirmed = on_confirmed
        self._backlog: deque[DeadLetter] = deque()
        self._outbox: deque[Message] = deque()
        self._confirmed: deque[DeadLetter] = deque()  # and those that expired before they could be
        self._channel: ConfirmedChannel | None = None
        self._condition = Condition()
        self._refused = False
        self._backoff = backoff
        self._reconnecting = Reconnecting(steady=steady, backoff=backoff)
        self._reason = ""  # what the broker's last refusal, or the last channel's end, was for
        self._trouble = Trouble(log, lambda: {"unconfirmed": self.unconfirmed})
        DEAD_LETTERS_UNCONFIRMED.labels(service).set_function(lambda: self.unconfirmed)
        PUBLISHING_BLOCKED.labels(service).set_function(lambda: self.blocked)

    @property
    def connected(self) -> bool:
        """Whether letters can be published now."""
        return self._channel is not None and not self._channel.is_over

    @property
    def unconfirmed(self) -> int:
        """How many letters are not known to be safe, or whose originals are not settled."""
        in_flight = self._channel.unconfirmed if self._channel else 0
        return len(self._backlog) + len(self._outbox) + in_flight + len(self._confirmed)

    @property
    def blocked(self) -> bool:
        """Whether the broker blocks publishing (memory or disk alarm)."""
        return self._channel is not None and not self._channel.connection.unblocked.is_set()

    def put(self, letters: Iterable[DeadLetter]) -> None:
        """Take letters for publishing. Those whose delivery expires before the confirm are dropped: they come again."""
        if self._backlog and self._backlog[0].delivery.expired:  # a broker that blocks for hours takes none of them
            self._drop_expired()
        self._backlog.extend(letters)
        self._condition.notify()

    async def drained(self) -> None:
        """Wait until nothing is unconfirmed."""
        await self._condition.until(lambda: not self.unconfirmed)

    async def run(self) -> None:
        """Publish until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._publish(), name="dead-letter publishing")
                # Here, not where the confirm arrives: what fails in settling is a bug and must end the process.
                while True:
                    await self._condition.until(lambda: self._confirmed)
                    self._on_confirmed(self._confirmed.popleft())
                    if not self.unconfirmed:  # what has expired meanwhile waits no more, either
                        self._trouble.over(_OVER)
                    self._condition.notify()
        finally:
            self._trouble.leave()

    async def _publish(self) -> None:
        while True:
            self._reconnecting.begin()
            try:
                async with self._broker.connected(name=f"spindle {self._service} dead letters") as connection:
                    self._channel = await open_confirmed(
                        connection, on_verdict=self._judge, on_end=self._lose, open_it=self._broker.open_channel
                    )
                    await self._publish_on(self._channel)
            except (BrokerUnavailable, StartRefused) as error:
                self._complain(str(error))
            self._drop_expired()
            await asyncio.sleep(self._reconnecting.delay())

    async def _publish_on(self, channel: ConfirmedChannel) -> None:
        """Publish until the channel ends.

        Raises: BrokerUnavailable, StartRefused.
        """
        waits = self._backoff.delays()
        while True:
            await self._condition.until(lambda: self._backlog or channel.is_over)
            if self._refused:
                await asyncio.sleep(next(waits))
                await self._declare_again(channel.connection)
                self._refused = False
            else:
                waits = self._backoff.delays()
            if not channel.connection.unblocked.is_set():
                self._complain("the broker blocks publishing (memory or disk alarm)")
            await channel.connection.unblocked.wait()
            if channel.is_over:
                raise BrokerUnavailable(self._reason or "channel closed")
            self._fill_outbox(channel.connection)
            await channel.write(self._outbox)

    async def _declare_again(self, connection: Connection) -> None:
        """Somebody may have deleted where the letters go."""
        for kind in {letter.kind for letter in self._backlog}:
            await self._broker.declare_dead_letters(connection, self._names, self._service, kind)

    def _fill_outbox(self, connection: Connection) -> None:
        self._drop_expired()
        frame_max, now = connection.connection_tune.frame_max, datetime.now(UTC)
        for _ in range(min(_AT_ONCE, len(self._backlog))):
            letter = self._backlog.popleft()
            exchange = self._names.dead_letter_exchange(self._service, letter.kind)
            properties = properties_of(letter, service=self._service, at=now, frame_max=frame_max)
            self._outbox.append(Message(exchange, properties, letter.delivery.body, about=letter))

    def _drop_expired(self) -> None:
        """Their deliveries come again, and are judged again."""
        expired = [letter for letter in self._backlog if letter.delivery.expired]
        if expired:
            self._backlog = deque(letter for letter in self._backlog if not letter.delivery.expired)
            self._confirmed.extend(expired)
            self._condition.notify()

    def _judge(self, message: Message, taken: bool) -> None:
        if taken:
            self._confirmed.append(message.about)
            if not self._refused:
                self._trouble.over(_OVER)
        else:
            self._refused = True
            self._complain(f"no queue is bound to {message.exchange}" if message.returned else "refused by the broker")
            self._backlog.append(message.about)
        self._condition.notify()

    def _lose(self, orphans: list[Message], reason: str) -> None:
        waiting = [message.about for message in (*orphans, *self._outbox)]
        self._outbox.clear()
        self._backlog.extendleft(reversed(waiting))
        self._complain(reason)
        self._refused = bool(orphans)
        self._condition.notify()

    def _complain(self, reason: str) -> None:
        self._reason = reason
        # With nothing to publish a lost connection is nobody's matter, least of all while the service stops.
        if self.unconfirmed:
            self._trouble.say("Dead letters are waiting for the broker", reason)
