"""Where the name in the URI leads.

The driver tries a name's addresses one after the other and gives the first all the time that there is. So it is told
them in the order in which they answer, and never looks a name up itself.
"""

from collections.abc import Awaitable, Callable

from neo4j import Address
from neo4j._addressing import ResolvedAddress  # the only address whose host is not the name on its certificate
from neo4j.exceptions import ServiceUnavailable

from common.network.names import NameNotFound
from common.network.reaching import addresses_of


def resolver(*, timeout: float) -> Callable[[Address], Awaitable[list[Address]]]:
    """What the driver asks before it connects. `timeout`: seconds to connect in."""

    async def resolve(address: Address) -> list[Address]:
        try:
            found = await addresses_of(address.host, address.port_number, timeout=timeout)
        except NameNotFound as error:
            raise ServiceUnavailable(str(error)) from error
        return [_resolved(each.host, each.port, address.host) for each in found]

    return resolve


def _resolved(host: str, port: int, name: str) -> Address:
    parts = (host, port, 0, 0) if ":" in host else (host, port)
    return ResolvedAddress(parts, host_name=name)
