"""A file on its way: bytes that are hashed as they are written, under a name that nobody takes for a whole file."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 1024 * 1024


class Part:
    """`NAME.part`, and beside it what the server called this version of the file; a context manager.

    It stays when it is left, to be gone on with; `finish` gives it its name, `drop` removes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f".{path.name}.part.json")
        self._sha256 = hashlib.sha256()
        self.position = 0
        self.resumed = 0
        """Bytes that an earlier run had written."""

    def __enter__(self) -> Self:
        """Open it, and hash what an earlier run has written."""
        self._file = self._part.open("a+b")
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK_BYTES):
            self._sha256.update(chunk)
            self.position += len(chunk)
        self.resumed = self.position
        self.validator, self.total = self._noted()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        """Of what is there, in hex."""
        return self._sha256.hexdigest()

    def note(self, validator: str, total: int | None) -> None:
        """Remember which version of the file this is, so that no other is appended to it."""
        self.validator, self.total = validator, total
        self._note.write_text(json.dumps({"validator": validator, "total": total}), encoding="utf-8")

    def write(self, chunk: bytes) -> None:
        """Append. Raises: OSError, as for a disk that is full."""
        self._file.write(chunk)
        self._sha256.update(chunk)
        self.position += len(chunk)

    def begin_again(self) -> None:
        """Forget all that was written."""
        self._file.seek(0)
        self._file.truncate()
        self._sha256 = hashlib.sha256()
        self.position = self.resumed = 0
        self.validator, self.total = "", None

    def finish(self) -> None:
        """Give it its name, once it is safe on the disk: a name that survives a crash stands for bytes that do."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.replace(self._path)
        self._note.unlink(missing_ok=True)
        sync_folder(self._path.parent)

    def drop(self) -> None:
        """Leave nothing of it."""
        self.begin_again()
        self._part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _noted(self) -> tuple[str, int | None]:
        with suppress(OSError, ValueError):
            said = json.loads(self._note.read_text(encoding="utf-8"))
            validator, total = said.get("validator"), said.get("total")
            if isinstance(validator, str) and (total is None or isinstance(total, int)):
                return validator, total
        return "", None


def sync_folder(folder: Path) -> None:
    """Have the disk know the names that are in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sum_of(path: Path) -> str:
    """A whole file's sha256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
