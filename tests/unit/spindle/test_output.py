"""What a command writes, wherever its output goes."""

import io
import json
import sys
import tracemalloc

import pytest

from common.delivery import Properties
from common.kinds import Service
from common.rabbitmq.ops.queue_reader import StoredLetter
from spindle.cli import main
from spindle.dead_letters.each import listing
from spindle.dead_letters.letter import Letter, read
from spindle.output import NOBODY_READS, json_text, wide_console, write_any_text

ODD = "é … 中 \u2500"


class Pipe(io.TextIOWrapper):
    """A standard output of some encoding."""

    def __init__(self, encoding: str) -> None:
        self.raw_bytes = io.BytesIO()
        super().__init__(self.raw_bytes, encoding=encoding)

    @property
    def text(self) -> str:
        self.flush()
        return self.raw_bytes.getvalue().decode(self.encoding)


class LeftPipe(Pipe):
    """One whose reader has gone, as is seen when it is flushed."""

    def flush(self) -> None:
        raise BrokenPipeError

    def close(self) -> None:
        """Be gone without a word, or Python (from 3.13) tells of what the end of this raises."""

    def fileno(self) -> int:
        return 1_000_000  # nothing is to be redirected


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_has_no_letter_for_is_written_as_its_number(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = Pipe(encoding)
    monkeypatch.setattr(sys, "stdout", pipe)

    write_any_text()
    wide_console().print(ODD)
    print(json_text({"text": ODD}))

    shown, data = pipe.text.splitlines()
    assert json.loads(data) == {"text": ODD}
    assert "\\u4e2d" in shown or encoding == "utf-8"


@pytest.mark.parametrize("argv", [["--help"], ["dead-letters", "list", "--help"], ["verify", "--help"]])
def test_every_command_says_what_it_is_in_ascii(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe("ascii")
    monkeypatch.setattr(sys, "stdout", pipe)

    with pytest.raises(SystemExit) as ended:
        main(argv)

    assert ended.value.code == 0
    assert "usage: spindle" in pipe.text


def test_a_reader_who_has_gone_when_the_command_ends_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spindle.cli.silence", lambda: None)
    monkeypatch.setattr(sys, "stdout", LeftPipe("utf-8"))

    assert main(["--help"]) == NOBODY_READS


def letter(number: int, size: int = 0) -> Letter:
    headers = {"x-spindle-reason": "refused", "x-spindle-id": str(number), "x-spindle-text": ODD}
    return read(StoredLetter(b"x" * size, Properties(headers=headers)), Service.GRAPHINATOR, "labels")


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_list_of_each_letter_is_a_line_each_or_json(
    count: int, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, program = Pipe(encoding), Pipe(encoding)
    for pipe, as_json in ((screen, False), (program, True)):
        monkeypatch.setattr(sys, "stdout", pipe)
        write_any_text()
        with listing(as_json=as_json) as lines:
            for number in range(count):
                lines.add(letter(number))

    assert len(screen.text.splitlines()) == count + 1
    assert [(each["id"], each["text"]) for each in json.loads(program.text)] == [(str(n), ODD) for n in range(count)]


def test_a_list_of_each_letter_keeps_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 letters of 3 KB, which would be 60 MB."""
    monkeypatch.setattr(sys, "stdout", Pipe("utf-8"))
    tracemalloc.start()
    try:
        with listing(as_json=False) as lines:
            for number in range(20_000):
                lines.add(letter(number, size=3000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 12_000_000  # the lines themselves, 4 MB, are in this pipe
