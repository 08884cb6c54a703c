"""What a network's error is in an operator's words."""

import errno
import socket

import pytest

from common.network.failures import LOST, in_words

REFUSED = "connection refused: nothing listens there"
NO_WAY = "no way there: the host is down or can't be reached from here"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 5432)"), REFUSED),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] …"), REFUSED),
        (Exception("Couldn't connect to x:1 (resolved to ()):\n(reason [Errno 111] Connect call failed)"), REFUSED),
        (OSError("Multiple exceptions: [Errno 101] Connect …, [Errno 111] Connect …"), f"{NO_WAY}; {REFUSED}"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), LOST),
        (ConnectionResetError("Connection lost"), LOST),
        (BrokenPipeError(), LOST),
        (EOFError(), LOST),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "the host's name is not known"),
        (OSError(errno.EHOSTUNREACH, "No route"), NO_WAY),
        (TimeoutError(), "no answer in time"),
        (TimeoutError("no answer within 65 s"), "no answer within 65 s"),
        (OSError(errno.ENOENT, "No such file", "/x"), ""),
        (ConnectionError("rejected SSL upgrade"), ""),
        (ValueError("something else"), ""),
    ],
)
def test_an_error_is_said_in_words(error: Exception, words: str) -> None:
    assert in_words(error) == words
