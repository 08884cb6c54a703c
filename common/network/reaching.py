"""Decide which address of a name to try first, and try one after the other in the time that there is for all.

A name may stand for several servers, or for one by two protocols, and the first address may lead nowhere: a host that
is dead, an IPv6 without a route. Asking all of them in turn for a connection shows in moments which ones take any.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from common.network.names import Address, look_up, look_up_now

STAGGER = 0.25
"""Seconds that an address has before the next one is asked too: RFC 8305's value."""

_NAME_SHARE = 0.8
"""Of the time for everything: what is left shows that it was the name server, and not the server."""

_ASKING_SHARE = 0.5
"""Of what the name has left."""

T = TypeVar("T")
R = TypeVar("R")


async def knock(address: Address) -> None:
    """See that an address takes a connection, which is closed again.

    Raises: OSError.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as end:
        end.setblocking(False)
        await asyncio.get_running_loop().sock_connect(end, address)


async def addresses_of(
    host: str, port: int, *, timeout: float, greet: Callable[[Address], Awaitable[object]] = knock
) -> list[Address]:
    """Look up a name's addresses, in the order in which to try them: what has just answered comes first.

    Args:
        host: the name.
        port: of each address.
        timeout: seconds for all that is done with them.
        greet: returns when an address answers; raises OSError if it does not. Several are greeted at once.

    Raises: NameNotFound.
    """
    now = asyncio.get_running_loop().time
    end = now() + timeout
    found = await look_up(host, port, timeout=timeout * _NAME_SHARE)
    if len(found) == 1:
        return found
    answered = await _first_to_answer(found, greet, timeout=(end - now()) * _ASKING_SHARE)
    return sorted(found, key=lambda address: address != answered)


def dial(host: str, port: int, *, timeout: float) -> socket.socket:
    """Connect where there is no loop: it blocks. `timeout`: seconds for the name, as many for all its addresses, and as
    many for each step of what is done with the connection.

    Raises: OSError.
    """
    *others, last = look_up_now(host, port, timeout=timeout)
    share = timeout / (len(others) + 1)
    for address in others:
        with suppress(OSError):
            return _patient(socket.create_connection(address, share), timeout)
    return _patient(socket.create_connection(last, share), timeout)


def _patient(connection: socket.socket, timeout: float) -> socket.socket:
    connection.settimeout(timeout)
    return connection


async def try_each(
    candidates: Sequence[T],
    attempt: Callable[[T, float], Awaitable[R]],
    *,
    timeout: float,
    passed: tuple[type[Exception], ...],
    told: tuple[type[Exception], ...] = (),
) -> R:
    """Give what the first attempt gives that succeeds. Each is told its share, in seconds, of the time that is left.

    `passed`: errors after which the next one is tried. Raises: the first error, but rather one of `told`.
    """
    now = asyncio.get_running_loop().time
    end = now() + timeout
    errors: list[Exception] = []
    for position, candidate in enumerate(candidates):
        try:
            return await attempt(candidate, max(end - now(), 0.0) / (len(candidates) - position))
        except passed as error:
            errors.append(error)
    raise min(errors, key=lambda error: not isinstance(error, told))


async def _first_to_answer(
    addresses: Sequence[Address], greet: Callable[[Address], Awaitable[object]], *, timeout: float
) -> Address | None:
    """The first that answers a greeting; None where none does in time."""
    failures = [asyncio.Event() for _ in addresses]
    answered: list[Address] = []
    decided = asyncio.Event()

    async def ask(position: int) -> None:
        if position:  # the one before has failed, or has had its time
            with suppress(TimeoutError):
                async with asyncio.timeout(STAGGER * position):
                    await failures[position - 1].wait()
        try:
            await greet(addresses[position])
        except OSError:
            failures[position].set()
        else:
            answered.append(addresses[position])
        if answered or all(each.is_set() for each in failures):
            decided.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(position), name="greet") for position in range(len(addresses))]
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await decided.wait()
        for task in tasks:
            task.cancel()
    return answered[0] if answered else None
