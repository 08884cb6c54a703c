"""Write a manifest, row by row in the dump's order, and go on with one that a killed process has begun.

What is in the file was confirmed by the broker: the file is the position from which to publish again. A row of 21 bytes
is written at once, so that the end of the process takes none along; the end of the machine may, and then the rows that
are left no longer agree with the dump from some row on (`resuming.py`).
"""

import fcntl
import hashlib
import operator
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec
import structlog

from extractor.manifest.format import (
    HEADER_BYTES,
    ROW,
    Header,
    ManifestRefused,
    Row,
    decode_header,
    encode_header,
    part_of,
    reading_of,
)
from extractor.manifest.reader import ids_in
from extractor.manifest.sorting import sort_rows

log = structlog.get_logger()

_BLOCK_BYTES = 50_000 * ROW.size

_BINDING = ("load", "kind", "normaliser", "target", "since_digest", "ids_only")
"""What must be the same for one run to go on with what another has written. Not the file: each row says by its digest
whether it is still the same, and a truncated file is gone on with once it is whole."""


class Writer:
    """One manifest under way. Nobody else writes it meanwhile."""

    def __init__(self, path: Path, header: Header, *, from_start: bool = False) -> None:
        """Begin `path`, or go on with what is there if it is about the same load and target and not `from_start`.

        Raises: ManifestRefused.
        """
        self._path, self._part = path, part_of(path) if header.target else reading_of(path)
        self._finished = self._part
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _check_replaceable(path, header)
            if not from_start:
                _take_up_again(path, header)
            self._file: BinaryIO = os.fdopen(os.open(self._part, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        except OSError as error:
            raise ManifestRefused(
                f"the manifest {self._part} can't be written: {error.strerror}. SPINDLE_STATE has to name a folder "
                "that this program may write to."
            ) from error
        try:
            self._lock()
            self.rows = 0 if from_start else _rows_to_go_on_with(self._file, self._part, header)
            self.cut_to(self.rows)
            self._write_header(header)
        except BaseException:
            self._file.close()
            raise
        self._header = header

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave what was written, for another run to go on with."""
        self._file.close()

    def discard(self) -> None:
        """Leave nothing."""
        for path in {self._part, self._finished}:
            path.unlink(missing_ok=True)
        self.close()

    def earlier(self) -> Iterator[Row]:
        """The rows that are there already, in the dump's order."""
        for block in self._blocks(self.rows):
            yield from map(Row._make, ROW.iter_unpack(block))

    def cut_to(self, rows: int) -> None:
        """Keep only so many of the first rows."""
        self.rows = rows
        os.ftruncate(self._file.fileno(), max(HEADER_BYTES, HEADER_BYTES + rows * ROW.size))
        self._file.seek(0, os.SEEK_END)

    def append(self, rows: bytes) -> None:
        """Add rows, packed; none to what was discarded."""
        if self._file.closed:
            return
        try:
            written = self._file.write(rows)
        except OSError as error:
            raise ManifestRefused(f"the manifest {self._part} can't be written: {error.strerror}.") from error
        if written != len(rows):
            raise ManifestRefused(f"the manifest {self._part} can't be written: there is no room left.")
        self.rows += len(rows) // ROW.size

    def finish(self, header: Header) -> Header:
        """Bring the ids into their order, and complete the header; `keep` gives the manifest its name.

        Returns: the header with what was counted.
        """
        digest, ascending = hashlib.sha256(), True
        last = -1
        for block in self._blocks(self.rows):
            digest.update(block)
            ids = ids_in(block)
            ascending = ascending and last < ids[0] and all(map(operator.lt, ids, islice(ids, 1, None)))
            last = ids[-1]
        rows, body = self.rows, digest.hexdigest()
        if not ascending:
            self._finished = self._path.with_name(f"{self._path.name}.sorted")
            rows, body = sort_rows(self._blocks(self.rows), self._finished)
        header = msgspec.structs.replace(
            header, rows=rows, duplicates=self.rows - rows, ascending=ascending, digest=body
        )
        with self._finished.open("r+b") as file:
            file.write(encode_header(header))
            file.flush()  # or what is made to last is the header of before
            os.fsync(file.fileno())
        return header

    def keep(self) -> None:
        """Give the finished manifest its name, instead of one that was there."""
        self._finished.replace(self._path)
        if self._finished != self._part:
            self._part.unlink()
        _sync_folder(self._path.parent)
        self.close()

    def _blocks(self, rows: int) -> Iterator[bytes]:
        at, end = HEADER_BYTES, HEADER_BYTES + rows * ROW.size
        while at < end:
            block = os.pread(self._file.fileno(), min(_BLOCK_BYTES, end - at), at)
            if not block:
                raise ManifestRefused(f"{self._part} was cut while it was written; publish the load again.")
            yield block
            at += len(block)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ManifestRefused(
                f"another process is publishing or reading the same load ({self._part}): wait for it, or end it."
            ) from error

    def _write_header(self, header: Header) -> None:
        os.pwrite(self._file.fileno(), encode_header(header), 0)


def mark_announced(path: Path) -> None:
    """Note in a finished manifest that all of its load has been announced."""
    with path.open("r+b") as file:
        header = decode_header(file.read(HEADER_BYTES), path)
        os.pwrite(file.fileno(), encode_header(msgspec.structs.replace(header, announced=True)), 0)
        os.fsync(file.fileno())


def _check_replaceable(path: Path, header: Header) -> None:
    """What was published says more than what is only read: what was left out, where to, whether it was announced."""
    if header.target or (found := _header_of(path)) is None or not found.target:
        return
    raise ManifestRefused(
        f"{path} was written while {found.kind} of load {found.load} was published, and is not replaced by one that is "
        "only read. Use it; or, if it is damaged or of another dump, move it away."
    )


def _take_up_again(path: Path, header: Header) -> None:
    """A kind that was finished, of a load that was not: it is where the load goes on."""
    if not header.target or part_of(path).exists():
        return
    found = _header_of(path)
    if found is not None and not found.announced and _difference(found, header) is None:
        path.rename(part_of(path))


def _header_of(path: Path) -> Header | None:
    """The header of a manifest that is there and not damaged."""
    with suppress(FileNotFoundError, ManifestRefused), path.open("rb") as file:
        return decode_header(file.read(HEADER_BYTES), path)
    return None


def _rows_to_go_on_with(file: BinaryIO, part: Path, header: Header) -> int:
    size = os.fstat(file.fileno()).st_size
    if size <= HEADER_BYTES:
        return 0
    try:
        found = decode_header(os.pread(file.fileno(), HEADER_BYTES, 0), part)
    except ManifestRefused as error:
        log.warning("Publishing from the beginning", reason=str(error))
        return 0
    if (difference := _difference(found, header)) is not None:
        log.warning("Publishing from the beginning: what was begun is not the same", differs=difference)
        return 0
    return (size - HEADER_BYTES) // ROW.size


def _difference(found: Header, header: Header) -> str | None:
    return next((name for name in _BINDING if getattr(found, name) != getattr(header, name)), None)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
