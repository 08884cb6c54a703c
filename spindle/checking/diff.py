"""A check's result on disk: `LOAD.KIND.STORE.diff`, a JSON line and 5 bytes an id, bound to its manifest's digest.

While a check runs its ids lie in `….diff.part`, and how far it has come in `….diff.at`, written after them: a check
that was interrupted goes on behind the last chunk. What it saw long ago may be wrong by now: after an hour it begins
again.
"""

import fcntl
import json
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from common.errors import StartRefused
from spindle.checking.classes import Class, Counts, Listed

FORMAT: Final = 1
_ROW: Final = struct.Struct(">IB")
_AT_ONCE: Final = 20_000 * _ROW.size
RESUMED_WITHIN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a check is about: one kind of a load in one store, by one manifest."""

    load: str
    kind: str
    store: str
    manifest: str
    """The manifest's digest."""
    server: str
    """What tells the store from every other one: a result says nothing of another server."""

    @property
    def name(self) -> str:
        """The diff file's."""
        return f"{self.load}.{self.kind}.{self.store}.diff"


@dataclass(slots=True)
class Position:
    """How far a check has come."""

    began_at: str
    """By the store's clock."""
    since: str
    """The same moment by ours."""
    phase: str = "ids"
    """`ids`: the manifest's rows; `scan`: the store's; `letters`: only the dead letters are left."""
    rows: int = 0
    """Of the manifest, judged."""
    place: str | None = None
    """In the store's scan."""
    listed: int = 0
    """Ids written to the part file."""
    counts: dict[str, int] = field(default_factory=lambda: Counts().as_data())


@dataclass(frozen=True, slots=True)
class Result:
    """A finished check."""

    subject: Subject
    began_at: str
    """What a check says is true of this moment at the earliest."""
    finished_at: str
    counts: Counts
    path: Path
    resumed: bool = False
    """Whether an interrupted check was gone on with: its first ids were judged when that one began."""

    def ids(self, *classes: Class) -> Iterator[int]:
        """The ids of these classes, of all if none is named.

        Raises: StartRefused if the file was cut.
        """
        return (number for number, found in self.listed() if not classes or found in classes)

    def listed(self) -> Iterator[Listed]:
        """Every listed id with its class.

        Raises: StartRefused if the file was cut.
        """
        with self.path.open("rb") as file:
            file.readline()
            yield from _rows(file, self.path)


class Progress:
    """A check under way; a context manager that holds the lock. Raises: StartRefused if another check has it."""

    def __init__(self, folder: Path, subject: Subject, *, began_at: datetime, fresh: bool = False) -> None:
        """`began_at`: now by the store's clock; `fresh`: go on with nothing."""
        self._fresh = fresh
        self.subject = subject
        self.path = folder / subject.name
        self._part_path = self.path.with_name(f"{self.path.name}.part")
        self._at_path = self.path.with_name(f"{self.path.name}.at")
        self._part: BinaryIO | None = None
        self.position = Position(began_at.isoformat(), _now())
        self.resumed = False

    def __enter__(self) -> Self:
        try:
            self._part = self._part_path.open("a+b")
        except OSError as error:
            raise StartRefused(f"{self._part_path} can't be written: {error.strerror}") from error
        try:
            fcntl.flock(self._part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._part.close()
            raise StartRefused(f"{self.subject.name} is being made by another check; wait for its end.") from error
        self.resumed = not self._fresh and self._resume()
        self._part.truncate(self.position.listed * _ROW.size)
        self._part.seek(0, os.SEEK_END)
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._part is not None  # noqa: S101 (for mypy: it was entered)
        self._part.close()

    def save(self, listed: Iterable[Listed], counts: Counts) -> None:
        """Write a chunk's ids, and after them how far the check is."""
        assert self._part is not None  # noqa: S101
        packed = b"".join(_ROW.pack(*each) for each in listed)
        self._part.write(packed)
        self._part.flush()
        self.position.listed += len(packed) // _ROW.size
        self.position.counts = counts.as_data()
        _replace(
            self._at_path, json.dumps({"subject": asdict(self.subject), "position": asdict(self.position)}).encode()
        )

    def listed(self) -> Iterator[Listed]:
        """What was written so far."""
        assert self._part is not None  # noqa: S101
        self._part.seek(0)
        yield from _rows(self._part, self._part_path)

    def finish(self, listed: Iterable[Listed], counts: Counts) -> Result:
        """Make the diff file of these ids; `counts` is read after the last of them."""
        body_path = self.path.with_name(f"{self.path.name}.body")
        with body_path.open("wb") as body:
            for each in listed:
                body.write(_ROW.pack(*each))
        finished_at = _now()
        header = {
            "format": FORMAT,
            **asdict(self.subject),
            "began_at": self.position.began_at,
            "finished_at": finished_at,
            "complete": counts.complete,
            "counts": counts.as_data(),
            "listed": body_path.stat().st_size // _ROW.size,
        }
        new = self.path.with_name(f"{self.path.name}.new")
        with new.open("wb") as file, body_path.open("rb") as body:
            file.write(json.dumps(header).encode() + b"\n")
            while piece := body.read(_AT_ONCE):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        for path in (body_path, self._at_path, self._part_path):
            path.unlink(missing_ok=True)
        return Result(self.subject, self.position.began_at, finished_at, counts, self.path, self.resumed)

    def _resume(self) -> bool:
        assert self._part is not None  # noqa: S101
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(self._at_path.read_bytes())
            position = Position(**said["position"])
            age = datetime.now(UTC) - datetime.fromisoformat(position.since)
            enough = os.fstat(self._part.fileno()).st_size >= position.listed * _ROW.size
            if said["subject"] == asdict(self.subject) and age < RESUMED_WITHIN and enough:
                self.position = position
                return True
        return False


def read_result(folder: Path, subject: Subject) -> Result:
    """The finished check of a subject.

    Raises: StartRefused if there is none, or if it is of another manifest, of another format, or was cut.
    """
    path = folder / subject.name
    try:
        with path.open("rb") as file:
            header: dict[str, Any] = json.loads(file.readline(1 << 20))
            size = os.fstat(file.fileno()).st_size - file.tell()
    except FileNotFoundError as error:
        raise StartRefused(
            f"{subject.kind} of {subject.load} was not checked in {subject.store}: {path.name} is not there."
        ) from error
    except (OSError, ValueError) as error:
        raise StartRefused(f"{path} can't be read as the result of a check: {type(error).__name__}.") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise StartRefused(f"{path.name} is of another format than {FORMAT}; check again.")
    said = {name: header.get(name) for name in ("load", "kind", "store", "manifest", "server")}
    if said["server"] != subject.server:
        raise StartRefused(f"{path.name} is about another server than this {subject.store}; check again.")
    if said != asdict(subject):
        raise StartRefused(f"{path.name} is bound to another manifest than the one that is there; check again.")
    if size != header["listed"] * _ROW.size:
        raise StartRefused(
            f"{path.name} was cut: it has {size:,} bytes of ids, and says {header['listed']:,} ids; check again."
        )
    counts = Counts.from_data(header["counts"])
    return Result(subject, header["began_at"], header["finished_at"], counts, path)


def _rows(file: BinaryIO, path: Path) -> Iterator[Listed]:
    while piece := file.read(_AT_ONCE):
        if len(piece) % _ROW.size:
            raise StartRefused(f"{path.name} ends inside an id; check again.")
        yield from ((number, Class(found)) for number, found in _ROW.iter_unpack(piece))


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    new.replace(path)


def _now() -> str:
    return datetime.now(UTC).isoformat()
