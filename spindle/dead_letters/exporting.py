"""Write dead letters to a file, a line of JSON each; the letters stay in their queues."""

import base64
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from common.errors import StartRefused
from spindle.dead_letters.letter import Letter, as_data


class Export:
    """A file that appears, whole, when the block ends without an error."""

    def __init__(self, path: Path) -> None:
        """Raises: StartRefused where there is something already, or nothing can be written."""
        if path.exists():
            raise StartRefused(f"{path} exists; name a file that does not")
        self.count = 0
        self._path, self._part = path, path.with_name(f"{path.name}.part")
        try:
            self._file = self._part.open("w", encoding="utf-8")
        except OSError as error:
            raise StartRefused(f"{self._part} can't be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        if error is None:
            self._part.rename(self._path)
        else:
            self._part.unlink()

    def add(self, letter: Letter) -> None:
        """Write one letter."""
        self._file.write(json.dumps(with_body(letter), ensure_ascii=False) + "\n")
        self.count += 1


def with_body(letter: Letter) -> dict[str, Any]:
    """All of a letter: the body as text, or as base64 where it is none."""
    body = letter.stored.body
    try:
        text = {"body": body.decode()}
    except UnicodeDecodeError:
        text = {"body_base64": base64.b64encode(body).decode()}
    return {**as_data(letter), **text}
