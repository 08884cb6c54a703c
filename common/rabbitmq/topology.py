"""Declare what a consumer needs on the broker: exchange, queue, dead-letter exchange and queue, and their bindings.

Every name and argument is the wire format's. Each declaration has a channel of its own, because a refused one
costs its channel.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

from common.errors import StartRefused
from common.kinds import Names, Service
from common.rabbitmq.channel import Channel, open_channel
from common.rabbitmq.connection import ANSWER_TIMEOUT, CLOSE_TIMEOUT, Connection, borrowed, broker_errors
from common.rabbitmq.declaration import Declaration
from common.rabbitmq.policies import QueueLimits, troubles
from common.settings.programs import BrokerSettings

GRANTS = "deploy/grants/rabbitmq.json"
"""The least permissions of each login, as they are shipped."""

_ROUNDS = 20
"""Differences that one declaration may have; the broker knows fewer arguments than this."""


class AccessRefused(StartRefused):
    """The broker does not let this user do it."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What there is on the broker now."""

    queue_type: str
    """`quorum`, or `classic` if somebody had made it before us; taken for ours if it could not be compared."""
    differences: list[str]
    """A sentence for each thing that exists otherwise than we would have made it; it is used as it is."""


async def declare(connection: Connection, names: Names, service: Service, kind: str) -> Declared:
    """Declare everything one consumer needs.

    Raises: StartRefused if something can't be used, BrokerUnavailable.
    """
    exchange, queue = exchange_of(names.exchange(kind)), _queue(connection, names, service, kind)
    await _declare(connection, exchange)
    await _declare(connection, queue)
    await _bind(connection, queue.name, exchange.name)
    dead_letters = await declare_dead_letters(connection, names, service, kind)
    return Declared(
        str(queue.arguments.get("x-queue-type", "classic")),
        [*exchange.differences, *queue.differences, *_advice(connection, queue), *_losses(queue), *dead_letters],
    )


async def declare_dead_letters(connection: Connection, names: Names, service: Service, kind: str) -> list[str]:
    """Declare where the dead letters of one queue go. Returns the differences, and raises as `declare`."""
    exchange = exchange_of(names.dead_letter_exchange(service, kind))
    queue = Declaration("queue", names.dead_letter_queue(service, kind), arguments=_arguments(connection))
    await _declare(connection, exchange)
    await _declare(connection, queue)
    await _bind(connection, queue.name, exchange.name)
    return [*exchange.differences, *queue.differences, *_losses(queue)]


async def declare_exchanges(broker: BrokerSettings | Connection, names: Names, kinds: Iterable[str]) -> list[str]:
    """Declare what a producer needs. Returns the differences, and raises as `declare`."""
    exchanges = [exchange_of(names.exchange(kind)) for kind in kinds]
    async with borrowed(broker, name="spindle topology") as connection:
        for exchange in exchanges:
            await _declare(connection, exchange)
    return [difference for exchange in exchanges for difference in exchange.differences]


async def inspect(connection: Connection, names: Names, service: Service, kind: str) -> list[Declaration]:
    """Compare with what exists, and declare nothing.

    Returns: of what `declare` needs that which exists, with its differences, and that at which this user may not look.
    Raises: StartRefused if something can't be used, BrokerUnavailable.
    """
    wanted = [
        exchange_of(names.exchange(kind)),
        _queue(connection, names, service, kind),
        exchange_of(names.dead_letter_exchange(service, kind)),
        Declaration("queue", names.dead_letter_queue(service, kind), arguments=_arguments(connection)),
    ]
    existing = [each for each in wanted if await _is_there(connection, each)]
    for each in existing:
        if each.is_compared:
            await _declare(connection, each)
        if each.name == names.queue(service, kind):
            each.differences.extend(_advice(connection, each))
    return existing


async def queue_lengths(broker: BrokerSettings | Connection, queues: Iterable[str]) -> dict[str, int | None]:
    """How many messages wait in each queue, those given out not counted; None if there is no such queue.

    Raises: BrokerUnavailable, StartRefused.
    """
    async with borrowed(broker, name="spindle queue lengths") as connection:
        return {queue: await _length(connection, queue) for queue in queues}


def exchange_of(name: str) -> Declaration:
    """An exchange as the wire format has it."""
    fields = {"type": "fanout", "durable": True, "auto_delete": False, "internal": False}
    return Declaration("exchange", name, fields)


def _queue(connection: Connection, names: Names, service: Service, kind: str) -> Declaration:
    arguments = {**_arguments(connection), "x-dead-letter-exchange": names.dead_letter_exchange(service, kind)}
    return Declaration("queue", names.queue(service, kind), arguments=arguments)


def _arguments(connection: Connection) -> dict[str, object]:
    arguments: dict[str, object] = {"x-queue-type": "quorum"}
    if connection.broker_version >= (4, 0):
        # The default of 20 would drop a whole prefetch after 20 crashes. On 3.x, -1 would drop at the first return.
        arguments["x-delivery-limit"] = -1
    return arguments


def _advice(connection: Connection, queue: Declaration) -> list[str]:
    """Say how to fix a delivery limit that drops what it hits."""
    limit = queue.arguments.get("x-delivery-limit", 20 if connection.broker_version >= (4, 0) else -1)
    is_quorum = queue.arguments.get("x-queue-type") == "quorum"
    if not is_quorum or "x-dead-letter-exchange" in queue.arguments or limit < 0:
        return []
    policy = json.dumps({"dead-letter-exchange": f"{queue.name}.dlx"}, separators=(",", ":"))
    return [
        f"queue {queue.name}: a record returned {limit} times is dropped, unless a policy says otherwise; "
        "this command keeps it: "
        f"rabbitmqctl set_policy --vhost '{connection.vhost}' --apply-to queues '{queue.name}' "
        f"'^{re.escape(queue.name)}$' '{policy}'"
    ]


def _losses(queue: Declaration) -> list[str]:
    """Say what the arguments of a queue that was there before us do to its messages. AMQP tells nothing of policies."""
    arguments = queue.arguments
    if "x-dead-letter-exchange" not in arguments and not queue.name.endswith(".dlq"):  # then `_advice` speaks of it
        arguments = {key: value for key, value in arguments.items() if key != "x-delivery-limit"}
    return [trouble.sentence for trouble in troubles([QueueLimits(queue.name, arguments)])]


async def _declare(connection: Connection, declaration: Declaration) -> None:
    """Declare, and adopt what exists, until the broker agrees."""
    for _ in range(_ROUNDS):
        try:
            await _try(connection, declaration)
        except AccessRefused:
            # Once all is there a user needs no right to make (and to delete) it: deploy/grants.
            if not await _exists(connection, declaration):
                raise
            declaration.is_compared = False
            return
        except ChannelPreconditionFailed as error:
            if not declaration.adopt(_text(error)):
                declaration.differences.append(f"{declaration.what} {declaration.name}: {_text(error)}")
                break
        else:
            return
    # A text cut off at 255 characters does not name the value. The broker compares what would make a queue unusable
    # before the arguments, so whatever differs here does not matter enough to refuse the start.
    await _try(connection, declaration, passive=True)


async def _try(connection: Connection, declaration: Declaration, *, passive: bool = False) -> None:
    with broker_errors(connection.address, ChannelPreconditionFailed):
        try:
            async with _throw_away(connection) as channel, asyncio.timeout(ANSWER_TIMEOUT):
                if declaration.what == "queue":
                    await channel.queue_declare(
                        declaration.name, durable=True, passive=passive, arguments=declaration.arguments
                    )
                else:
                    fields = {**declaration.fields}
                    await channel.exchange_declare(
                        declaration.name,
                        exchange_type=fields.pop("type"),
                        passive=passive,
                        arguments=declaration.arguments,
                        **fields,
                    )
        except ValueError as error:  # of the client, about the name
            raise StartRefused(
                f"{declaration.name!r} is no name for a {declaration.what} ({error}); check DISCOGS_EXCHANGE_PREFIX."
            ) from error
        except ChannelLockedResource as error:
            raise declaration.refused("it is exclusive to another connection") from error
        except ChannelAccessRefused as error:
            raise _access_refused(connection, error) from error


async def _is_there(connection: Connection, declaration: Declaration) -> bool:
    try:
        return await _exists(connection, declaration)
    except AccessRefused:  # from 4.2.6 on nobody may look at what he has no right to: it may be there
        declaration.is_compared = False
        return True


async def _exists(connection: Connection, declaration: Declaration) -> bool:
    with broker_errors(connection.address):
        try:
            async with _throw_away(connection) as channel, asyncio.timeout(ANSWER_TIMEOUT):
                if declaration.what == "queue":
                    await channel.queue_declare(declaration.name, passive=True)
                else:
                    await channel.exchange_declare(declaration.name, passive=True)
        except ChannelNotFoundEntity as error:
            if not _says_there_is_none(error):
                raise
            return False
        except ChannelLockedResource as error:
            raise declaration.refused("it is exclusive to another connection") from error
        except ChannelAccessRefused as error:
            raise _access_refused(connection, error) from error
        return True


async def _bind(connection: Connection, queue: str, exchange: str) -> None:
    with broker_errors(connection.address):
        try:
            async with _throw_away(connection) as channel, asyncio.timeout(ANSWER_TIMEOUT):
                await channel.queue_bind(queue, exchange)
        except ChannelAccessRefused as error:
            raise _access_refused(connection, error) from error


async def _length(connection: Connection, queue: str) -> int | None:
    with broker_errors(connection.address):
        try:
            async with _throw_away(connection) as channel, asyncio.timeout(ANSWER_TIMEOUT):
                return (await channel.queue_declare(queue, passive=True)).message_count
        except ChannelNotFoundEntity as error:
            if not _says_there_is_none(error):
                raise
            return None
        except ChannelAccessRefused as error:
            raise _access_refused(connection, error) from error


def _says_there_is_none(error: ChannelNotFoundEntity) -> bool:
    """Whether it is not there, and not only out of reach: a queue whose node is away is "not found" too."""
    return _text(error).startswith(("NOT_FOUND - no queue ", "NOT_FOUND - no exchange "))


@asynccontextmanager
async def _throw_away(connection: Connection) -> AsyncIterator[Channel]:
    channel = await open_channel(connection)
    try:
        yield channel
    finally:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await channel.close()


def _access_refused(connection: Connection, error: ChannelAccessRefused) -> AccessRefused:
    return AccessRefused(
        f"RabbitMQ at {connection.address} refused access ({_text(error)}); the user needs permission to configure "
        f"(unless it exists), write and read its exchanges and queues in the virtual host {connection.vhost!r}: see "
        f"{GRANTS}."
    )


def _text(error: Exception) -> str:
    return str(error.args[-1])
