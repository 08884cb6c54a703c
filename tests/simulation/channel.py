"""A channel as the runtime sees it: what aiormq's would do, at the end of two wires.

Everything that the runtime sends is checked here, at the moment of sending: that is when it commits itself.
"""

import asyncio
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiormq.exceptions import AMQPConnectionError, ChannelInvalidStateError

from tests.simulation.messages import Message
from tests.simulation.queues import Back, Consumer, Waiting
from tests.simulation.wire import answered

if TYPE_CHECKING:
    from tests.simulation.connection import ModelConnection


def _ignore(*_: object) -> None:
    return


class ModelChannel:
    """Both ends of a channel; the broker's end is the consumer and the confirms."""

    def __init__(self, connection: "ModelConnection", number: int) -> None:
        self.connection, self.number = connection, number
        self.on_delivery: Callable[..., None] = _ignore
        self.on_confirm: Callable[..., None] = _ignore
        self.on_return: Callable[..., None] = _ignore
        self.on_consumer_cancel_callbacks: set[Callable[[object], object]] = set()
        self.write_queue = _Outlet(self)
        self.outstanding: dict[int, tuple[Message, float]] = {}
        """By tag: what the runtime has received and not answered, and since when."""
        self.is_over = False
        self.was_disturbed = False
        """Whether the broker gave a reason to close it."""
        self.consumer: Consumer | None = None
        self.published = 0
        self._loop = asyncio.get_running_loop()
        self.queue = ""
        self.prefetch = 0
        self.answered = 0
        """How many deliveries the runtime has acknowledged."""
        self._waiting: list[asyncio.Future[Any]] = []
        self._on_end: list[Callable[[str], None]] = []

    # What the runtime calls

    def on_end(self, call: Callable[[str], None]) -> None:
        self._on_end.append(call)

    @property
    def subscription(self) -> object:
        """What of the runtime lives as long as this channel."""
        return getattr(self._on_end[0], "__self__", None)

    def create_future(self) -> "asyncio.Future[Any]":
        future = self._loop.create_future()
        self._waiting.append(future)
        return future

    async def basic_qos(self, *, prefetch_count: int) -> None:
        self.connection.checks.prefetch(prefetch_count)
        self.prefetch = prefetch_count
        await self._ask(lambda: None)

    async def basic_consume(self, queue: str, _: object, *, arguments: dict[str, Any]) -> SimpleNamespace:
        self.queue = queue
        await self._ask(lambda: self._consume(queue, arguments), then=self._attach)
        return SimpleNamespace(consumer_tag="consumer")

    async def basic_cancel(self, _: str, *, nowait: bool = False) -> None:
        if nowait:
            self._check_open()
            self.connection.to_broker.send(self._cancel)
        else:
            await self._ask(self._cancel)

    async def basic_ack(self, tag: int, multiple: bool = False, wait: bool = True) -> None:
        self._check_open()
        self.acknowledge(tag, multiple)

    async def basic_nack(self, tag: int, multiple: bool = False, requeue: bool = True, wait: bool = True) -> None:
        self._check_open()
        self.connection.checks.violate(f"tag {tag} nacked, which spends what a message may be returned")
        if self.outstanding.pop(tag, None) is not None:
            self.connection.to_broker.send(self._requeue, tag)

    async def confirm_delivery(self) -> None:
        await self._ask(lambda: None)

    async def close(self) -> None:
        if not self.is_over:
            self.connection.check_return(self)
            await self._ask(self.end_consumer)
            self.end("closed")

    # The way to the broker

    def acknowledge(self, tag: int, multiple: bool) -> None:
        """Send an acknowledgement."""
        checks = self.connection.checks
        if tag not in self.outstanding:
            checks.violate(f"tag {tag} settled twice, or never received")
        tags = [each for each in self.outstanding if each <= tag] if multiple else [tag]
        for each in tags:
            if (received := self.outstanding.pop(each, None)) is not None:
                self.answered += 1
                checks.acknowledged(received[0])
        checks.remembered(entries(self.subscription))
        self.connection.to_broker.send(self._settle, tag, multiple)

    async def _ask(self, act: Callable[[], None], *, then: Callable[[], None] = _ignore) -> None:
        """Have the broker do something; it answers, and then does what follows."""
        self._check_open()
        answer = self.create_future()
        self.connection.to_broker.send(self._obey, act, answer, then)
        await answer

    def _check_open(self) -> None:
        if self.is_over:
            raise ChannelInvalidStateError("channel closed")

    # At the broker's end

    def _obey(self, act: Callable[[], None], answer: "asyncio.Future[Any]", then: Callable[[], None]) -> None:
        act()
        self.connection.to_client.send(answered, answer)
        then()

    def _consume(self, queue: str, arguments: dict[str, Any]) -> None:
        broker = self.connection.broker
        timeout = arguments.get("x-consumer-timeout", broker.timeout * 1000) / 1000
        self.consumer = Consumer(broker.queues[queue], self, prefetch=self.prefetch, timeout=timeout)

    def _attach(self) -> None:
        if self.consumer is not None:
            self.consumer.queue.attach(self.consumer)

    def _cancel(self) -> None:
        if self.consumer is not None:
            self.consumer.is_active = False

    def _settle(self, tag: int, multiple: bool) -> None:
        if self.consumer is None:
            return
        answered = self.consumer.answer(tag, multiple=multiple)
        if answered is None:
            self.connection.broker.close_channel(self, f"unknown delivery tag {tag}")
        else:
            self.connection.checks.ledger.answered([each.message for each in answered if each is not None])
            self.consumer.queue.give_out()

    def _requeue(self, tag: int) -> None:
        if self.consumer is not None:
            answered = self.consumer.answer(tag, multiple=False) or []
            self.consumer.queue.take_back([each for each in answered if each is not None], Back.NACK)

    def deliver(self, burst: list[tuple[int, Waiting]]) -> None:
        """Send deliveries on their way."""
        self.connection.to_client.send(self._arrive, [(tag, each.message, each.count) for tag, each in burst])

    def timed_out(self, consumer: Consumer) -> None:
        """Do what the broker's version does when an answer takes too long."""
        self.connection.broker.time_out(self, consumer)

    def end_consumer(self) -> None:
        """Take back what is unanswered."""
        if self.consumer is not None:
            self.consumer.end()
            self.consumer = None

    # At the runtime's end

    def _arrive(self, burst: list[tuple[int, Message, int]]) -> None:
        now = self._loop.time()
        self.outstanding.update({tag: (message, now) for tag, message, _ in burst})
        self.connection.life.tally["received"] += len(burst)
        self.connection.checks.received(len(burst), len(self.outstanding))
        if not self.was_disturbed:
            self.connection.checks.consumed(burst[0][1].kind)
        if self.connection.wire is not None:
            self.connection.wire.arrive(burst, now)
            return
        for tag, message, count in burst:
            self.on_delivery(tag, SimpleNamespace(headers=headers_of(message, count), **_NOTHING), message.body)

    def cancelled_by_broker(self) -> None:
        """Hear that the consumer is no more."""
        if not self.is_over:
            for call in self.on_consumer_cancel_callbacks:
                call(None)

    def end(self, reason: str) -> None:
        """Hear that the channel is no more."""
        if self.is_over:
            return
        self.is_over = True
        self.outstanding.clear()
        for future in self._waiting:
            if not future.done():
                future.set_exception(AMQPConnectionError(reason))
                future.exception()  # nobody may be waiting any more
        for call in self._on_end:
            self._loop.call_soon(call, reason)


class _Outlet:
    """Where frames of published messages are put."""

    def __init__(self, channel: ModelChannel) -> None:
        self._channel = channel

    async def put(self, frames: Any) -> None:
        channel = self._channel
        channel.connection.to_broker.send(channel.connection.broker.confirming.receive, channel, frames.payload)
        drained = frames.drain_future
        asyncio.get_running_loop().call_soon(lambda: drained.done() or drained.set_result(None))


_NOTHING = dict.fromkeys(
    (
        *("content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration"),
        *("message_id", "timestamp", "message_type", "user_id", "app_id"),
    )
)


def entries(thing: object) -> int:
    """How many entries the runtime's own objects hold for a channel, in whatever they hold them."""
    held = 0
    for each in vars(thing).values():
        if isinstance(each, Collection) and not isinstance(each, str | bytes):
            held += len(each)
        elif type(each).__module__.startswith("common.rabbitmq.consuming"):
            held += entries(each)
    return held


def headers_of(message: Message, count: int) -> dict[str, Any]:
    """A delivery's headers."""
    headers: dict[str, Any] = {} if message.load is None else {"load": message.load}
    if count:
        headers["x-delivery-count"] = count
    return headers
