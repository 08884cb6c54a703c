"""A line per letter, however many there are: nothing of a letter is kept in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from spindle.dead_letters.letter import Letter, as_data
from spindle.dead_letters.showing import letter_line, letters_heading
from spindle.output import for_standard_output, json_text


class Lines:
    """Letters as lines for a person, or as a JSON array with an element per line."""

    def __init__(self, file: IO[str], *, as_json: bool) -> None:
        self._file, self._as_json = file, as_json
        self._count = 0

    def begin(self) -> None:
        """Write what comes before the first letter."""
        self._file.write("[" if self._as_json else letters_heading())

    def add(self, letter: Letter) -> None:
        """Write one letter."""
        separator = "," if self._as_json and self._count else ""
        self._file.write(f"{separator}\n{json_text(as_data(letter)) if self._as_json else letter_line(letter)}")
        self._count += 1

    def end(self) -> None:
        """Write what comes behind the last."""
        self._file.write(f"{chr(10) if self._count else ''}]\n" if self._as_json else "\n")


@contextmanager
def listing(*, as_json: bool) -> Iterator[Lines]:
    """Give what letters are written to, and show all of it when the block ends without an error."""
    with for_standard_output() as file:
        lines = Lines(file, as_json=as_json)
        lines.begin()
        yield lines
        lines.end()
