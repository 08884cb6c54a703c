"""A dump's pieces in their order, and the message of each that is asked for: read on the spot, or by parsers before.

Who draws decides which pieces need a message, and in what order: parsers only make it sooner. So what becomes of a dump
can't depend on how many there are. What they have not read, or can't, is read on the spot.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

import structlog

from extractor.message import Message, to_message
from extractor.parsing.parser import Parsed
from extractor.parsing.pool import Answer, ParserPool
from extractor.reading import BrokenRecord, Skip, read_record
from extractor.splitting import Piece
from extractor.streams import Truncated

_CHUNK_BYTES = 128 * 1024
"""Of a chunk: some 50 releases, 5 ms of parsing. It has room in a socket, and its overhead is 1% of its parsing."""
_CHUNK_PIECES = 256
_SILENCE = 30.0  # seconds without an answer, which takes milliseconds

log = structlog.get_logger()


class Pending(Enum):
    """Stands where the next piece is not parsed yet: `wait`, and draw on."""

    PENDING = 0


PENDING: Final = Pending.PENDING


class Reader(Protocol):
    """Reads one dump file."""

    def draw(self, pieces: Iterable[Piece | Skip]) -> Iterator[Piece | Skip | Pending]:
        """The pieces, in their order. Raises: what `pieces` does, Truncated behind all of them; ParserEnded."""

    def read(self, piece: Piece) -> Message:
        """The message of the piece that was drawn last. Raises: BrokenRecord."""

    async def wait(self) -> None:
        """Return when a piece can be drawn."""


class DirectReader:
    """Reads each record when it is asked for."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def draw(self, pieces: Iterable[Piece | Skip]) -> Iterator[Piece | Skip | Pending]:
        """The pieces themselves."""
        return iter(pieces)

    def read(self, piece: Piece) -> Message:
        """Read it."""
        return to_message(self._kind, read_record(piece.raw))

    async def wait(self) -> None:
        """Nothing is ever pending."""


class PooledReader:
    """Has parsers read ahead, as long as most of what they read is asked for.

    Little is asked for if a load goes on behind what was confirmed, or if only what has changed is published. Then
    parsers rest, and what is asked for is read on the spot.
    """

    def __init__(self, kind: str, pool: ParserPool, *, chunk_bytes: int = _CHUNK_BYTES) -> None:
        self._kind, self._pool, self._chunk_bytes = kind, pool, chunk_bytes
        self._awaited: Answer | None = None
        self._piece: Piece | Skip | None = None  # that was drawn last
        self._parsed: Parsed | None = None  # what a parser has made of it
        self._asked = 0  # of the pieces of the chunk that is drawn from
        self._is_ahead = True

    def draw(self, pieces: Iterable[Piece | Skip]) -> Iterator[Piece | Skip | Pending]:
        """The pieces, with some chunks of them under way: at most `capacity`, and as many bytes, and one record."""
        cutting = _Cutting(pieces, self._chunk_bytes)
        under_way = deque[_Chunk]()
        while True:
            while self._has_room(under_way) and (chunk := cutting.next_chunk()) is not None:
                if self._is_ahead and chunk.raws:
                    chunk.answer = self._pool.submit(chunk.raws)
                under_way.append(chunk)
            if not under_way:
                break
            yield from self._drawn(under_way.popleft())
        if cutting.error is not None:
            raise cutting.error

    def read(self, piece: Piece) -> Message:
        """Give what a parser has made of it, or read it."""
        self._asked += 1
        parsed = self._parsed if piece is self._piece else None
        if parsed is None or not (parsed.id or parsed.reason):
            return to_message(self._kind, read_record(piece.raw))  # no deeper in the stack than without parsers
        if parsed.reason is not None:
            raise BrokenRecord(parsed.reason, parsed.text)
        return Message(self._kind, parsed.id, parsed.body, parsed.sha256)

    async def wait(self) -> None:
        """Wait for the parser of the next chunk, also if it has ended: who draws on is told."""
        if self._awaited is not None:
            done, _ = await asyncio.wait([self._awaited], timeout=_SILENCE)
            if not done:
                log.warning("A parser has not answered for a while", data_type=self._kind, seconds=_SILENCE)

    def _has_room(self, under_way: deque["_Chunk"]) -> bool:
        if not self._is_ahead:
            return not under_way
        chunks = self._pool.capacity
        return len(under_way) < chunks and sum(chunk.size for chunk in under_way) < chunks * self._chunk_bytes

    def _drawn(self, chunk: "_Chunk") -> Iterator[Piece | Skip | Pending]:
        self._awaited = answer = chunk.answer
        while answer is not None and not answer.done():
            yield PENDING
        parsed = iter(answer.result() if answer is not None else ())
        self._asked = 0
        for piece in chunk.pieces:
            self._piece, self._parsed = piece, None if isinstance(piece, Skip) else next(parsed, None)
            yield piece
        self._is_ahead = 2 * self._asked >= len(chunk.raws)


@asynccontextmanager
async def reader_of(kind: str, parsers: int) -> AsyncIterator[Reader]:
    """What reads a file with so many parsers; one is this process itself."""
    if parsers == 1:
        yield DirectReader(kind)
        return
    async with ParserPool(kind, parsers) as pool:
        yield PooledReader(kind, pool)


@dataclass(slots=True)
class _Chunk:
    pieces: list[Piece | Skip] = field(default_factory=list)
    raws: list[bytes] = field(default_factory=list)
    size: int = 0
    answer: Answer | None = None
    """None if no parser was asked."""


class _Cutting:
    """Chunks of whole records, until there are no more."""

    def __init__(self, pieces: Iterable[Piece | Skip], chunk_bytes: int) -> None:
        self._pieces = iter(pieces)
        self._chunk_bytes = chunk_bytes
        self.error: Truncated | None = None
        """How it ended, if it should not have."""

    def next_chunk(self) -> _Chunk | None:
        """The next one; None at the end."""
        chunk = _Chunk()
        try:
            for piece in self._pieces:
                chunk.pieces.append(piece)
                if isinstance(piece, Piece):
                    chunk.raws.append(piece.raw)
                    chunk.size += len(piece.raw)
                if chunk.size >= self._chunk_bytes or len(chunk.pieces) >= _CHUNK_PIECES:
                    break
        except Truncated as error:
            self.error = error
        return chunk if chunk.pieces else None
