"""Write dead letters to a file, a line of JSON each; the letters stay in their queues."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from common.errors import StartRefused
from common.rabbitmq.ops.header import header_of
from spindle.dead_letters.letter import Letter, as_data
from spindle.output import for_standard_output, json_text

STANDARD_OUTPUT = Path("-")
"""For a container, whose files go with it."""


class Export:
    """What letters are written to, and how many were."""

    def __init__(self, file: IO[str], to_text: Callable[[dict[str, Any]], str]) -> None:
        self.count = 0
        self._file, self._to_text = file, to_text

    def add(self, letter: Letter) -> None:
        """Write one letter."""
        self._file.write(self._to_text(whole(letter)) + "\n")
        self.count += 1


@contextmanager
def exporting_to(path: Path) -> Iterator[Export]:
    """Write to standard output, or to a file that appears, whole, when the block ends without an error.

    Raises: StartRefused if there is something already, or nothing can be written.
    """
    if path == STANDARD_OUTPUT:
        with for_standard_output() as file:
            yield Export(file, json_text)
        return
    if path.exists():
        raise StartRefused(f"{path} exists; name a file that does not")
    part = path.with_name(f"{path.name}.part")
    try:
        file = part.open("w", encoding="utf-8")
    except OSError as error:
        raise StartRefused(f"{part} can't be written: {error.strerror}") from error
    try:
        with file:
            yield Export(file, lambda content: json.dumps(content, ensure_ascii=False))
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        part.unlink()
        if isinstance(error, OSError):  # of the file: the broker's are translated
            raise StartRefused(f"{part} can't be written: {error.strerror}") from error
        raise
    part.rename(path)


def with_body(letter: Letter) -> dict[str, Any]:
    """A letter with its body: as text, or as base64 if it is no text."""
    body = letter.stored.body
    try:
        text = {"body": body.decode()}
    except UnicodeDecodeError:
        text = {"body_base64": base64.b64encode(body).decode()}
    return {**as_data(letter), **text}


def whole(letter: Letter) -> dict[str, Any]:
    """All of a letter, from which it can be made again: its properties as they go over the wire, too."""
    header = header_of(letter.stored.properties, letter.stored.body)
    return {**with_body(letter), "header": base64.b64encode(header).decode()}
