"""A parser: a process that makes messages of chunks of records' bytes, for as long as its cutter lives.

Chunks and answers are frames on one socket: a length, and msgpack. A parser answers in the order in which it was asked.
"""

import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

import msgspec

from extractor.message import to_message
from extractor.reading import BrokenRecord, SkipReason, read_record

_LENGTH = struct.Struct(">I")
_SPARE_FRAMES = 200
"""Of the stack: beyond what the cutter has in use when it reads a record, some 40."""


class Parsed(msgspec.Struct, frozen=True, gc=False, array_like=True, omit_defaults=True):
    """What became of one record: a message's parts, or a `reason` why there is none and its text.

    With neither id nor reason the parser leaves it to the cutter.
    """

    id: str = ""
    body: bytes = b""
    sha256: str = ""
    reason: SkipReason | None = None
    text: str = ""


_decode_chunk = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_answer = msgspec.msgpack.Decoder(list[Parsed]).decode
_encode = msgspec.msgpack.Encoder().encode


def chunk_frame(raws: Sequence[bytes]) -> bytes:
    """What a parser is sent: the bytes of some records."""
    return _framed(_encode(raws))


def take_answer(buffer: bytearray) -> list[Parsed] | None:
    """Take the next answer out of what has arrived, one for each record of its chunk; None if it is not whole yet."""
    if len(buffer) < _LENGTH.size:
        return None
    end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
    if len(buffer) < end:
        return None
    with memoryview(buffer) as view, view[_LENGTH.size : end] as frame:
        answer = _decode_answer(frame)
    del buffer[:end]
    return answer


def parse(kind: str, raw: bytes) -> Parsed:
    """Read one record. What the cutter might read otherwise, or would end with, is left to it."""
    try:
        message = to_message(kind, read_record(raw))
    except BrokenRecord as error:
        # How deep a record may be depends on the stack that is left, and only the cutter knows its own.
        return Parsed() if isinstance(error.__cause__, RecursionError) else Parsed(reason=error.reason, text=str(error))
    except Exception:  # noqa: BLE001 (the cutter meets it too, at this record's place, and says what one process would)
        return Parsed()
    return Parsed(message.id, message.body, message.sha256)


def main(descriptor: int, kind: str) -> None:
    """Answer until the cutter closes the socket, or is gone."""
    sys.setrecursionlimit(sys.getrecursionlimit() - _SPARE_FRAMES)
    with socket.socket(fileno=descriptor) as cutter, cutter.makefile("rb") as chunks, suppress(ConnectionError):
        while (chunk := _next_chunk(chunks)) is not None:
            cutter.sendall(_framed(_encode([parse(kind, raw) for raw in chunk])))


def _next_chunk(chunks: BinaryIO) -> list[bytes] | None:
    head = chunks.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    payload = chunks.read(length)
    return _decode_chunk(payload) if len(payload) == length else None


def _framed(payload: bytes) -> bytes:
    return _LENGTH.pack(len(payload)) + payload
