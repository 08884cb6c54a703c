"""Say in an operator's words why a server can't be talked to.

The system and the drivers say it by numbers, by the names of their classes and by their own addresses.
"""

import errno
import re
import socket
from typing import Final

LOST: Final = "the connection was lost"
NO_ANSWER: Final = "no answer in time"
_NO_WAY: Final = "no way there: the host is down or can't be reached from here"
UNKNOWN_NAME: Final = "the host's name is not known"

_WORDS: Final = {
    errno.ECONNREFUSED: "connection refused: nothing listens there",
    errno.ECONNRESET: LOST,
    errno.ECONNABORTED: LOST,
    errno.EPIPE: LOST,
    errno.ENOTCONN: LOST,
    errno.ETIMEDOUT: NO_ANSWER,
    errno.EHOSTUNREACH: _NO_WAY,
    errno.EHOSTDOWN: _NO_WAY,
    errno.ENETUNREACH: _NO_WAY,
    errno.ENETDOWN: _NO_WAY,
    errno.EADDRNOTAVAIL: "no way there: this side has no such address, or no free port",
    errno.EMFILE: "too many open files on this side",
    errno.ENFILE: "too many open files on this side",
    socket.EAI_NONAME: UNKNOWN_NAME,
    getattr(socket, "EAI_NODATA", socket.EAI_NONAME): UNKNOWN_NAME,
    socket.EAI_AGAIN: f"{UNKNOWN_NAME}: the name server does not answer",
}

# asyncio puts the errors of several addresses into one text, and drivers put the system's into theirs.
_NUMBER: Final = re.compile(r"\[Errno (-?\d+)\]")


def in_words(error: BaseException) -> str:
    """What an error of the network says; empty if it is about something else, or nothing is known of it."""
    numbers = [error.errno] if isinstance(error, OSError) else []
    known = [_WORDS[number] for number in (*numbers, *map(int, _NUMBER.findall(str(error)))) if number in _WORDS]
    if known:  # of several addresses each has its own: often one has no way, and the other says what is the matter
        return "; ".join(dict.fromkeys(known))
    if isinstance(error, TimeoutError):
        return str(error) or NO_ANSWER  # ours say how long was waited
    return LOST if isinstance(error, ConnectionError | EOFError) and not _says_more(error) else ""


def _says_more(error: BaseException) -> bool:
    """Whether somebody has put words into it that are worth more than ours."""
    return bool(str(error)) and type(error) not in (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)
