"""Where the name in the URI leads.

The driver tries a name's addresses one after the other and gives the first all the time that there is. So it is told
them in the order in which they answer, and never looks a name up itself. To take a connection is no answer: a server
that hangs does that too.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from neo4j import Address
from neo4j._addressing import ResolvedAddress  # the only address whose host is not the name on its certificate
from neo4j.exceptions import ServiceUnavailable

from common.network.names import Address as Place
from common.network.names import NameNotFound
from common.network.reaching import addresses_of

_HANDSHAKE: Final = bytes.fromhex("6060B017 00080805 00020404 00000104 00000003")
"""Bolt's first bytes, and four ranges of versions from 5.8 down to 3. Any server answers with four bytes: one of
these, or zeros, so that the first is a zero (Bolt's specification, "Handshake")."""


def resolver(*, timeout: float, tls: ssl.SSLContext | bool) -> Callable[[Address], Awaitable[list[Address]]]:
    """What the driver asks before it connects.

    Args:
        timeout: seconds to connect in.
        tls: what the server is greeted with, or whether it speaks TLS if the driver makes its own context.
    """
    context = _anyone() if tls is True else tls or None

    async def resolve(address: Address) -> list[Address]:
        greet = partial(_greet, name=address.host, context=context)
        try:
            found = await addresses_of(address.host, address.port_number, timeout=timeout, greet=greet)
        except NameNotFound as error:
            raise ServiceUnavailable(str(error)) from error
        return [_resolved(each.host, each.port, address.host) for each in found]

    return resolve


def _anyone() -> ssl.SSLContext:
    """A context to greet with where the driver has its own: nothing is told to whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _greet(place: Place, *, name: str, context: ssl.SSLContext | None) -> None:
    """See that a server answers there as one that speaks Bolt, and leave it.

    Raises: OSError.
    """
    reader, writer = await asyncio.open_connection(*place, ssl=context, server_hostname=name if context else None)
    try:
        writer.write(_HANDSHAKE)
        if (await reader.readexactly(4))[0]:
            raise ConnectionError("It speaks something else.")
    except EOFError as error:
        raise ConnectionError("It hung up.") from error
    finally:
        writer.transport.abort()


def _resolved(host: str, port: int, name: str) -> Address:
    parts = (host, port, 0, 0) if ":" in host else (host, port)
    return ResolvedAddress(parts, host_name=name)
