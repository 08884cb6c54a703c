"""A dump file as chunks of uncompressed bytes, in constant memory.

If the bytes end before they should, that is a `Truncated`, with the uncompressed offset; a plain XML file that was
cut is recognised by what it says (splitting.py), not here.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import structlog

from common.errors import SpindleError

log = structlog.get_logger()

CHUNK_BYTES = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


class Truncated(SpindleError):
    """A dump ends before it should, or can't be decompressed any further; `offset` counts uncompressed bytes."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(f"{text} (at byte {offset} of the uncompressed file)")
        self.offset = offset


class DumpStream:
    """One dump file, read once from its start.

    Use as a context manager and iterate; `position` of `size` bytes of the file itself have been read. With `hashed`,
    `sha256` is of the file as it lies there.
    """

    def __init__(self, path: Path, *, hashed: bool = False) -> None:
        self._name = path.name
        self._file: BinaryIO = path.open("rb")
        self._read_as: BinaryIO | _Hashed = _Hashed(self._file) if hashed else self._file
        self.size = path.stat().st_size
        self._compressed = is_gzip(path)

    def __enter__(self) -> "DumpStream":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def position(self) -> int:
        """How far the file itself has been read, which for a compressed one is what an ETA can be taken from."""
        return self._file.tell()

    def sha256(self) -> str:
        """Of the whole file, in hex: what has not been read yet is read. Only of a stream that is `hashed`."""
        if not isinstance(self._read_as, _Hashed):
            raise TypeError("the stream is not hashed")
        while self._read_as.read(CHUNK_BYTES):
            pass
        return self._read_as.sha256.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        """Raises: Truncated after the last chunk that could be had."""
        if not self._compressed:
            yield from iter(lambda: self._read_as.read(CHUNK_BYTES), b"")
            return
        offset = 0
        with gzip.GzipFile(fileobj=self._read_as) as unpacked:  # type: ignore[arg-type]  # it only reads
            while chunk := self._read(unpacked, offset):
                offset += len(chunk)
                yield chunk

    def _read(self, unpacked: gzip.GzipFile, offset: int) -> bytes:
        """The next chunk. `read1` makes one step only, so that an error takes no bytes with it that were already there.

        What stands behind the last member and is none is passed over, and said, as gzip itself does: a member was whole
        then, and its sum has been compared.
        """
        try:
            return unpacked.read1(CHUNK_BYTES)
        except EOFError as error:
            raise Truncated(offset, "the gzip file ends in the middle") from error
        except gzip.BadGzipFile as error:
            if offset and _is_no_member(error):
                log.warning("Ignored bytes behind the end of the gzip file", file=self._name, reason=str(error))
                return b""
            raise Truncated(offset, f"the gzip file can't be decompressed any further: {error}") from error
        except zlib.error as error:
            raise Truncated(offset, f"the gzip file can't be decompressed any further: {error}") from error


class _Hashed:
    """A file that is read once from its start, and hashed meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """The next bytes."""
        found = self._file.read(size)
        self.sha256.update(found)
        return found


def is_gzip(path: Path) -> bool:
    """Whether the file begins like a gzip file, whatever its name says."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC


def _is_no_member(error: gzip.BadGzipFile) -> bool:
    """Whether what was read for a member's beginning is none, in contrast to a member whose sum or length is wrong."""
    return str(error).startswith("Not a gzipped file")
