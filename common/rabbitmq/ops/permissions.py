"""Which of the permissions that are needed a user lacks.

They are found out by requests that can't change anything: the broker looks at permissions before it looks at what else
is asked.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

from common.kinds import Names, Service
from common.ops.checks import Check, Findings
from common.rabbitmq.channel import Channel, open_channel
from common.rabbitmq.connection import ANSWER_TIMEOUT, CLOSE_TIMEOUT, Connection, broker_errors
from common.rabbitmq.topology import GRANTS

_found = Findings("RabbitMQ")
_Request = Callable[[Channel], Awaitable[object]]
_ANSWERS = (ChannelAccessRefused, ChannelLockedResource, ChannelNotFoundEntity, ChannelPreconditionFailed)


@dataclass(frozen=True, slots=True)
class _Need:
    """A permission, and the request that is refused without it."""

    request: _Request
    found: _Request | None = None
    """Succeeds where what would be made is there already: then nobody needs to be let make it."""
    spared: str = ""
    """A name that the request has to have too, and that is nobody's: its refusal does not count."""


class Login(StrEnum):
    """What the login is for: where each program has its own, it needs no more than that program does."""

    ALL = "all"
    SERVICES = "services"
    EXTRACTOR = "extractor"


async def check_permissions(connection: Connection, names: Names, kinds: Sequence[str], login_of: Login) -> list[Check]:
    """Whether the user may do what is to be done; makes nothing."""
    refused = [text async for text in _refusals(connection, names, kinds, login_of)]
    if not refused:
        return [_found.ok("permissions", f"The user has what it needs on exchanges and queues of {names.prefix}.")]
    return [
        _found.failed(
            "permissions",
            f"The user lacks {len(refused)} of the permissions needed, first: {refused[0]}. Let an administrator "
            f"import {GRANTS}, which has the least for each login, or, with one login for all, run "
            f"rabbitmqctl set_permissions --vhost '{connection.vhost}' USER '^{names.prefix}-' '^{names.prefix}-' "
            f"'^{names.prefix}-'.",
        )
    ]


async def _refusals(connection: Connection, names: Names, kinds: Sequence[str], login_of: Login) -> AsyncIterator[str]:
    """What the broker says of each name that the user may not use as we must."""
    for need in (need for kind in kinds for need in _needs(names, kind, login_of)):
        text = await _refusal(connection, need.request)
        if text is None or (need.spared and need.spared in text):
            continue
        if need.found is None or not await _exists(connection, need.found):
            yield text


def _needs(names: Names, kind: str, login_of: Login) -> Iterator[_Need]:
    exchange = names.exchange(kind)
    yield _configure_exchange(exchange)
    if login_of is not Login.SERVICES:
        yield _write(exchange)
    if login_of is Login.EXTRACTOR:  # it looks how much waits
        yield from (_look(names.queue(service, kind)) for service in Service)
        return
    for service in Service:
        queue, dead = names.queue(service, kind), names.dead_letter_queue(service, kind)
        letters = names.dead_letter_exchange(service, kind)
        yield from (_configure_queue(queue), _configure_exchange(letters), _configure_queue(dead))
        yield from (_write_and_read(queue, exchange), _write_and_read(letters, queue), _write_and_read(dead, letters))
        if login_of is Login.ALL:
            yield _write_and_read(letters, dead)


def _configure_queue(name: str) -> _Need:
    # An argument of the wrong type: refused for that, if it isn't refused for the lack of permission.
    return _Need(
        lambda channel: channel.queue_declare(name, durable=True, arguments={"x-dead-letter-exchange": 1}),
        found=lambda channel: channel.queue_declare(name, passive=True),
    )


def _look(name: str) -> _Need:
    return _Need(lambda channel: channel.queue_declare(name, passive=True))


def _configure_exchange(name: str) -> _Need:
    return _Need(
        lambda channel: channel.exchange_declare(
            name, exchange_type="fanout", durable=True, arguments={"alternate-exchange": 1}
        ),
        found=lambda channel: channel.exchange_declare(name, passive=True),
    )


def _write(name: str) -> _Need:
    nobodys = f"spindle doctor {secrets.token_hex(8)}"
    return _Need(_write_and_read(name, nobodys).request, spared=nobodys)


def _write_and_read(written: str, read: str) -> _Need:
    # Undoes a binding of a random key, which nobody has made. Permissions go by name, whatever it is the name of.
    key = f"spindle doctor {secrets.token_hex(8)}"
    return _Need(lambda channel: channel.exchange_unbind(destination=written, source=read, routing_key=key))


async def _refusal(connection: Connection, request: _Request) -> str | None:
    """The broker's words if it refuses access; None if it does not."""
    try:
        await _ask(connection, request)
    except ChannelAccessRefused as error:
        return str(error.args[-1]).removeprefix("ACCESS_REFUSED - ")
    except (ChannelPreconditionFailed, ChannelNotFoundEntity, ChannelLockedResource):
        return None
    return None


async def _exists(connection: Connection, request: _Request) -> bool:
    try:
        await _ask(connection, request)
    except ChannelNotFoundEntity:
        return False
    except _ANSWERS:  # something is there, or may be: the request for it has been refused, and that is said
        return True
    return True


async def _ask(connection: Connection, request: _Request) -> None:
    with broker_errors(connection.address, *_ANSWERS):
        channel = await open_channel(connection)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await request(channel)
        finally:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await channel.close()
