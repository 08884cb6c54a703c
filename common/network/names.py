"""Look up the addresses of a host's name, and wait for the name server no longer than told.

The system's look-up can't be ended, and where the name server is silent it takes half a minute and more. So it runs in
a thread that nobody waits for, not even the end of the process, and not in one of the loop's. A name is asked for once
at a time, however many want to know: there are never more such threads than names.
"""

import asyncio
import ipaddress
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import NamedTuple

from common.network.failures import UNKNOWN_NAME, in_words


class Address(NamedTuple):
    """One address of a host."""

    host: str
    """Numeric: whoever is given it looks nothing up."""
    port: int


class NameNotFound(OSError):
    """A name has no address that could be found; the text says why."""


_asked: dict[tuple[str, int], "Future[list[Address]]"] = {}
"""The look-ups that run now. Of the whole process, because what they share is its resolver."""

_asking = threading.Lock()


async def look_up(host: str, port: int, *, timeout: float) -> list[Address]:
    """Find each address once, in the order in which the system wants them tried. `timeout`: seconds.

    Raises: NameNotFound, also where the name server does not answer in time.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            return await asyncio.wrap_future(_ask(host, port))
    raise _unanswered(host, timeout)  # not from the other one, which would be read as the server's silence


def look_up_now(host: str, port: int, *, timeout: float) -> list[Address]:
    """Do the same where there is no loop: it blocks.

    Raises: NameNotFound.
    """
    with suppress(TimeoutError):
        return _ask(host, port).result(timeout)
    raise _unanswered(host, timeout)


def _ask(host: str, port: int) -> "Future[list[Address]]":
    host = host.strip("[]")
    with _asking:
        found = _asked.get((host, port))
        if found is None:
            found = Future()
            found.set_running_or_notify_cancel()  # one who no longer waits does not end it for the others
            if _is_numeric(host):
                found.set_result([Address(host, port)])
            else:
                _asked[host, port] = found
                threading.Thread(target=_find, args=(host, port, found), name="name look-up", daemon=True).start()
    return found


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _find(host: str, port: int, found: "Future[list[Address]]") -> None:
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the second for what can't be a name
        result: list[Address] | NameNotFound = NameNotFound(f"{in_words(error) or UNKNOWN_NAME} ({host})")
    else:
        result = list(dict.fromkeys(Address(str(entry[4][0]), port) for entry in entries))
    with _asking:
        del _asked[host, port]
    if isinstance(result, NameNotFound):
        found.set_exception(result)
    else:
        found.set_result(result)


def _unanswered(host: str, timeout: float) -> NameNotFound:
    return NameNotFound(f"{UNKNOWN_NAME}: the name server has not answered within {timeout:.3g} s ({host})")
