"""Look, before a load, whether the broker will let it through: version, what exists already, permissions.

Nothing is created, and nothing is taken from a queue. Permissions are found out by requests that can't change anything:
the broker looks at them before it looks at the request.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

from common.checks import Check, Findings
from common.errors import BrokerUnavailable, StartRefused
from common.kinds import Names, Service
from common.rabbitmq.channel import Channel, open_channel
from common.rabbitmq.connection import ANSWER_TIMEOUT, CLOSE_TIMEOUT, Connection, broker_errors, connected
from common.rabbitmq.topology import inspect
from common.settings import BrokerSettings

LEAST_VERSION = (3, 8)
"""The first with quorum queues."""

TRIED_VERSION = (3, 10)
"""The oldest that is tried with every change of ours."""

_found = Findings("RabbitMQ")
_Request = Callable[[Channel], Awaitable[object]]


async def check_broker(broker: BrokerSettings, names: Names, kinds: Sequence[str]) -> list[Check]:
    """Look at everything that both services and the extractor need for these kinds."""
    try:
        async with connected(broker, name="spindle doctor") as connection:
            login = _found.ok("login", f"{broker.address} takes the login, and opens the virtual host.")
            version = version_check(connection.broker_version)
            return [
                login,
                version,
                *await _permissions(connection, names, kinds),
                *await _queues(connection, names, kinds),
            ]
    except BrokerUnavailable as error:
        advice = "see that it runs, and RABBITMQ_HOST and RABBITMQ_PORT, or RABBITMQ_URL"
        return [_found.failed("login", f"{str(error).rstrip('.')}: {advice}.")]
    except StartRefused as error:
        return [_found.failed("login", _sentence(error))]


def version_check(version: tuple[int, ...]) -> Check:
    """Whether this version will do. Pure."""
    number, least, tried = (".".join(map(str, each)) for each in (version, LEAST_VERSION, TRIED_VERSION))
    if version < LEAST_VERSION:
        return _found.failed("version", f"It is {number}; needed is {least} or newer, for quorum queues: upgrade it.")
    if version < TRIED_VERSION:
        return _found.warning("version", f"It is {number}; nothing older than {tried} has been tried: upgrade it.")
    return _found.ok("version", f"It is {number}.")


async def _queues(connection: Connection, names: Names, kinds: Sequence[str]) -> list[Check]:
    """Compare the queues and exchanges that exist with ours."""
    existing, differences = 0, []
    for service in Service:
        for kind in kinds:
            try:
                found = await inspect(connection, names, service, kind)
            except StartRefused as error:
                return [_found.failed("queues", _sentence(error))]
            existing += len(found)
            differences += [difference for each in found for difference in each.differences]
    if differences:
        # An exchange is shared by two services, and would be named twice.
        advice = "It will be used as it is; deleted while it is empty, it is made anew by the services as they want it."
        return [_found.warning("queues", f"{each}. {advice}") for each in dict.fromkeys(differences)]
    if not existing:
        return [_found.ok("queues", f"None exists under {names.prefix} yet: the services will declare them.")]
    return [_found.ok("queues", f"What exists under {names.prefix} is as ours would be.")]


async def _permissions(connection: Connection, names: Names, kinds: Sequence[str]) -> list[Check]:
    refused = [text async for text in _refusals(connection, names, kinds)]
    if not refused:
        return [_found.ok("permissions", "The user may configure, write and read exchanges and queues of our names.")]
    return [
        _found.failed(
            "permissions",
            f"The user lacks {len(refused)} of the permissions needed, first: {refused[0]}. Let an administrator run "
            f"rabbitmqctl set_permissions --vhost '{connection.vhost}' USER '^{names.prefix}-' '^{names.prefix}-' "
            f"'^{names.prefix}-'.",
        )
    ]


async def _refusals(connection: Connection, names: Names, kinds: Sequence[str]) -> AsyncIterator[str]:
    """What the broker says of each name that the user may not use as we must."""
    for kind in kinds:
        exchange = names.exchange(kind)
        for service in Service:
            queue = names.queue(service, kind)
            letters = names.dead_letter_exchange(service, kind)
            dead = names.dead_letter_queue(service, kind)
            for request in (
                _configure_exchange(exchange),
                _configure_queue(queue),
                _configure_exchange(letters),
                _configure_queue(dead),
                _write_and_read(exchange, queue),
                _write_and_read(queue, exchange),
                _write_and_read(letters, dead),
                _write_and_read(dead, letters),
            ):
                if (text := await _refusal(connection, request)) is not None:
                    yield text


def _configure_queue(name: str) -> _Request:
    # An argument of the wrong type: refused for that, if it isn't refused for the lack of permission.
    return lambda channel: channel.queue_declare(name, durable=True, arguments={"x-dead-letter-exchange": 1})


def _configure_exchange(name: str) -> _Request:
    return lambda channel: channel.exchange_declare(
        name, exchange_type="fanout", durable=True, arguments={"alternate-exchange": 1}
    )


def _write_and_read(written: str, read: str) -> _Request:
    # Undoes a binding of a random key, which nobody has made. Permissions go by name, whatever it is the name of.
    key = f"spindle doctor {secrets.token_hex(8)}"
    return lambda channel: channel.exchange_unbind(destination=written, source=read, routing_key=key)


async def _refusal(connection: Connection, request: _Request) -> str | None:
    """The broker's words where it refuses access; None where it would not."""
    with broker_errors(connection.address):
        channel = await open_channel(connection)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await request(channel)
        except ChannelAccessRefused as error:
            return str(error.args[-1]).removeprefix("ACCESS_REFUSED - ")
        except (ChannelPreconditionFailed, ChannelNotFoundEntity, ChannelLockedResource):
            return None
        finally:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await channel.close()
    return None


def _sentence(error: Exception) -> str:
    text = str(error)
    return text if text.endswith(".") else f"{text}."
