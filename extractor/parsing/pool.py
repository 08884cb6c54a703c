"""The parsers of one dump file: started, given chunks, heard in the event loop, and ended with it.

Nobody blocks on a full socket: what a parser does not take yet is kept by its transport, and what it answers is read
whenever the loop runs. So signals, heartbeats and confirms are heard while parsers work.
"""

import asyncio
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self, cast

from common.errors import SpindleError
from extractor.exit_codes import how_it_ended
from extractor.parsing.parser import Parsed, chunk_frame, take_answer

Answer = asyncio.Future[list[Parsed]]
"""What became of each record of a chunk; raises ParserEnded if nobody will say."""

_CHUNKS_EACH = 3
"""One that is parsed, one that waits in the socket, one for as long as the cutter publishes."""

_ENDING_LIMIT = 1.0
"""Seconds in which a process that has closed its socket is over."""


class ParserEnded(SpindleError):
    """A parser has ended before the file did. Nobody tries again what it was given: that may be what has ended it."""


class ParserPool:
    """An async context manager: parsers live as long as it does, at most."""

    def __init__(self, kind: str, count: int) -> None:
        self._kind, self._count = kind, count
        self._parsers: list[_Parser] = []

    async def __aenter__(self) -> Self:
        try:
            for number in range(1, self._count + 1):
                self._parsers.append(await _connected(f"parser {number} of {self._count}", self._kind))
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    @property
    def capacity(self) -> int:
        """Chunks that keep all parsers busy."""
        return _CHUNKS_EACH * self._count

    def submit(self, raws: Sequence[bytes]) -> Answer:
        """Have the parser that has least to do read these records."""
        return min(self._parsers, key=lambda parser: parser.waiting).submit(raws)

    def _end(self) -> None:
        for parser in self._parsers:
            parser.end()


class _Parser(asyncio.Protocol):
    """One parser, as its cutter sees it."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]") -> None:
        self._name, self._process = name, process
        self._transport: asyncio.Transport | None = None
        self._answers = deque[Answer]()  # those that are awaited, in the order of their chunks
        self._arrived = bytearray()

    @property
    def waiting(self) -> int:
        """Chunks that it has not answered."""
        return len(self._answers)

    def submit(self, raws: Sequence[bytes]) -> Answer:
        """Send a chunk."""
        answer: Answer = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        if self._transport is None:
            self._fail()
        else:
            self._transport.write(chunk_frame(raws))
        return answer

    def end(self) -> None:
        """Kill it: it has nothing that anybody would miss."""
        self._process.kill()
        self._process.wait()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand over what is complete."""
        self._arrived += data
        while (answer := take_answer(self._arrived)) is not None:
            self._answers.popleft().set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended, or is being ended."""
        self._transport = None
        self._fail()

    def _fail(self) -> None:
        if not self._answers:
            return
        try:
            how = how_it_ended(self._process.wait(_ENDING_LIMIT))
        except subprocess.TimeoutExpired:
            how = "its process has closed its socket"
        while self._answers:
            answer = self._answers.popleft()
            answer.set_exception(ParserEnded(f"{self._name} has ended, and the file was not read to its end: {how}"))
            answer.exception()  # nobody may ever ask for it, and asyncio need not complain


async def _connected(name: str, kind: str) -> _Parser:
    ours, theirs = socket.socketpair()
    with ExitStack() as failed:
        failed.callback(ours.close)
        with theirs:
            parser = _Parser(name, _started(theirs, kind))
        failed.callback(parser.end)
        await asyncio.get_running_loop().create_unix_connection(lambda: parser, sock=ours)
        failed.pop_all()
    return parser


def _started(theirs: socket.socket, kind: str) -> "subprocess.Popen[bytes]":
    """Start a parser that no signal reaches but SIGKILL: it ends with its cutter, which alone is told to stop.

    As a plain program, and not by multiprocessing: a worker, being a daemon, may have no children by it.
    """
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from extractor.parsing.parser import main; main({theirs.fileno()}, {kind!r})"
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # which a child takes over
    try:
        return subprocess.Popen(  # noqa: S603 (our own interpreter, and a text without anything from outside)
            [sys.executable, "-c", program], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
