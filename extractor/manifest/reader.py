"""Read a manifest in memory that does not grow with it; one that is not what it should be is refused before.

```python
with Manifest.open(path_of(state, load, kind), load=load, kind=kind) as manifest:
    manifest.header.unknown_skipped
    for chunk in manifest.chunks(5000): ...     # lists of Row, ids ascending
```
"""

import hashlib
import operator
import os
import sys
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self

from extractor.manifest.format import (
    ANEW,
    HEADER_BYTES,
    ROW,
    Header,
    ManifestRefused,
    Row,
    decode_header,
    part_of,
)

_BLOCK_ROWS = 50_000
"""Rows that are looked at together: 1 MB."""


class Manifest:
    """A finished manifest. It stays open, so that what was validated is what is read; use it as a context manager."""

    def __init__(self, path: Path, file: BinaryIO, header: Header) -> None:
        """Use `open`, which validates."""
        self.path = path
        self.header = header
        self._file = file

    @classmethod
    def open(cls, path: Path, *, load: str, kind: str, of: Path | None = None) -> Self:
        """Open a manifest and validate all of it: the header, and that the body is as it was written. With `of`, also
        that it is the manifest of this dump file, by name and size.

        Raises: ManifestRefused, with a sentence for each fault.
        """
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise ManifestRefused(_lacking(path, load, kind)) from None
        except OSError as error:
            raise ManifestRefused(f"the manifest {path} can't be read: {error.strerror}.") from error
        try:
            header = decode_header(file.read(HEADER_BYTES), path)
            _check_identity(header, path, load=load, kind=kind, of=of)
            manifest = cls(path, file, header)
            manifest._check_body()
        except BaseException:
            file.close()
            raise
        return manifest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    @property
    def digest(self) -> str:
        """Of the body, in hex: by which others name exactly this manifest."""
        return self.header.digest

    def __len__(self) -> int:
        """How many ids it has."""
        return self.header.rows

    def rows(self) -> Iterator[Row]:
        """Every row, ids ascending."""
        for chunk in self.chunks(_BLOCK_ROWS):
            yield from chunk

    def chunks(self, size: int, *, start: int = 0) -> Iterator[list[Row]]:
        """The rows, `size` at a time, from row number `start` on; the last chunk may be shorter, and none is empty."""
        for first in range(start, self.header.rows, size):
            yield self.rows_at(first, size)

    def rows_at(self, first: int, count: int) -> list[Row]:
        """`count` rows from number `first` on, or as many as there are."""
        return list(map(Row._make, ROW.iter_unpack(self._read(first, count))))

    def ids(self) -> Iterator[int]:
        """Every id, ascending: several times as fast as rows."""
        for block in self._blocks():
            yield from ids_in(block)

    def _blocks(self) -> Iterator[bytes]:
        for first in range(0, self.header.rows, _BLOCK_ROWS):
            yield self._read(first, _BLOCK_ROWS)

    def _read(self, first: int, count: int) -> bytes:
        wanted = ROW.size * min(count, self.header.rows - first)
        found = os.pread(self._file.fileno(), wanted, HEADER_BYTES + ROW.size * first)
        if len(found) != wanted:
            raise ManifestRefused(f"{self.path} was cut while it was read; {ANEW}")
        return found

    def _check_body(self) -> None:
        rows, size = self.header.rows, os.fstat(self._file.fileno()).st_size - HEADER_BYTES
        if size != rows * ROW.size:
            what = "was cut" if size < rows * ROW.size else "was altered"
            raise ManifestRefused(
                f"{self.path} {what}: it has {size:,} bytes behind its header, and its header says {rows:,} rows of "
                f"{ROW.size}; {ANEW}"
            )
        digest, last = hashlib.sha256(), -1
        for block in self._blocks():
            digest.update(block)
            ids = ids_in(block)
            if not (last < ids[0] and all(map(operator.lt, ids, islice(ids, 1, None)))):
                raise ManifestRefused(f"{self.path} was altered: its ids are not ascending; {ANEW}")
            last = ids[-1]
        if digest.hexdigest() != self.header.digest:
            raise ManifestRefused(
                f"{self.path} was altered: its body is not the one whose digest its header has; {ANEW}"
            )


def ids_in(body: bytes) -> "array[int]":
    """The ids of some rows, without looking at anything else in them."""
    ids = bytearray(len(body) // ROW.size * 4)
    for place in range(4):
        ids[place::4] = body[place :: ROW.size]
    found = array("I", bytes(ids))
    if sys.byteorder == "little":
        found.byteswap()
    return found


def _check_identity(header: Header, path: Path, *, load: str, kind: str, of: Path | None) -> None:
    if (header.load, header.kind) != (load, kind):
        raise ManifestRefused(
            f"{path} is the manifest of {header.kind} of load {header.load}, and not of {kind} of load {load}."
        )
    if not header.complete:
        raise ManifestRefused(
            f"{path} is not complete: the dump was not read to its end, or its checksum did not match; {ANEW}"
        )
    if of is None:
        return
    size = of.stat().st_size
    if (header.file, header.bytes) != (of.name, size):
        raise ManifestRefused(
            f"{path} is the manifest of {header.file} with {header.bytes:,} bytes, and not of {of.name} with "
            f"{size:,} bytes; {ANEW}"
        )


def _lacking(path: Path, load: str, kind: str) -> str:
    if part_of(path).exists():
        return (
            f"the manifest of {kind} of load {load} is not finished ({part_of(path)}): the load was interrupted, is "
            "still going on, or its dump was truncated. Publish it to its end."
        )
    return (
        f"there is no manifest of {kind} of load {load} ({path}): the extractor writes it while it publishes, and "
        "`spindle manifest FOLDER` makes it from a dump."
    )
