"""Choose ports on which nobody listens, and see whether somebody answers."""

import random
import socket
from collections.abc import Iterable, Mapping

LOOPBACK = "127.0.0.1"
# Below the range from which the kernel takes ports for outgoing connections (32768 and up): one of those could sit on
# a server's port while the server is down.
_RANGE = (20_000, 32_000)


def choose(names: Iterable[str], before: Mapping[str, int]) -> dict[str, int]:
    """Return a port per name: the one of the last time where it is free, else another."""
    chosen: dict[str, int] = {}
    for name in names:
        known = before.get(name)
        chosen[name] = known if known is not None and is_free(known) else _free_port(set(chosen.values()))
    return chosen


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


def _free_port(taken: set[int]) -> int:
    while True:
        port = random.randrange(*_RANGE)  # noqa: S311  (spreads stacks apart; not a secret)
        if port not in taken and is_free(port):
            return port
