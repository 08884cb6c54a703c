"""Choose ports on which nobody listens, and see whether somebody answers."""

import errno
import random
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress

LOOPBACK = "127.0.0.1"
# Below the range from which the kernel takes ports for outgoing connections (32768 and up): one of those could sit on
# a server's port while the server is down.
_RANGE = (20_000, 32_000)
# A server takes seconds from the choice of its port until it listens: for as long, nobody else may choose it. So it is
# with one that its owner stops and starts again.
_claims: dict[int, socket.socket] = {}


def choose(names: Iterable[str], before: Mapping[str, int] | None = None, *, width: int = 1) -> dict[str, int]:
    """Return a port per name: the one of the last time where it is free, else another.

    Nobody else on this machine chooses it until `release`, or until this process ends. `width`: how many free ports
    each begins.
    """
    chosen: dict[str, int] = {}
    for name in names:
        known = (before or {}).get(name)
        keeps = known is not None and (is_free(known) if known in _claims else _take(known, width))
        chosen[name] = known if known is not None and keeps else _free_port(width)
    return chosen


def claimed() -> frozenset[int]:
    """Return the ports that this process has chosen and not released."""
    return frozenset(_claims)


def claim(port: int) -> bool:
    """Keep others from choosing it, who may have done so already: then return False.

    It is a name that the kernel gives to one process alone, and takes back when that process ends.
    """
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0spindle-port-{port}")
    except OSError as error:
        name.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    _claims[port] = name
    return True


def release(ports: Iterable[int]) -> None:
    """Leave these to others: their servers listen by now, or never will."""
    for port in ports:
        with suppress(KeyError):
            _claims.pop(port).close()


def is_free(port: int) -> bool:
    """Tell whether a server could listen here."""
    with socket.socket() as probe:
        # As servers do: connections of a former server that are still dying don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def answer(port: int, question: bytes, length: int, *, timeout: float = 2.0) -> bytes:
    """Send a greeting and return up to `length` bytes of what comes back; nothing if nobody answers in time."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout) as connection:
            connection.sendall(question)
            return connection.recv(length)
    except OSError:
        return b""


def is_listening(port: int) -> bool:
    """Tell whether a connection is accepted."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0):
            return True
    except OSError:
        return False


def _free_port(width: int) -> int:
    while True:
        port = random.randrange(*_RANGE)  # noqa: S311  (spreads stacks apart; not a secret)
        if _take(port, width):
            return port


def _take(first: int, width: int) -> bool:
    taken: list[int] = []
    for port in range(first, first + width):
        if not claim(port):
            break
        taken.append(port)
        if not is_free(port):
            break
    else:
        return True
    release(taken)
    return False
