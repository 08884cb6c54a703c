"""Dead letters for a person."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spindle.dead_letters.letter import Letter
from spindle.dead_letters.summary import Group

_CUT = 60  # characters of an error's text in a table
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""What a terminal would obey is shown as its number: letters hold whatever anybody has sent."""


def groups_table(groups: Sequence[Group]) -> Table:
    """A row per group, with one letter as a sample."""
    table = Table(box=None, pad_edge=False)
    for heading in ("service", "kind", "reason", "error", "code"):
        table.add_column(heading)
    table.add_column("letters", justify="right")
    table.add_column("failed again", justify="right")
    for heading in ("oldest", "newest", "for example"):
        table.add_column(heading)
    for group in groups:
        sample = group.sample
        table.add_row(
            *map(_cell, (sample.service, sample.kind, sample.reason, sample.error_class, sample.code)),
            f"{group.count:,}",
            f"{group.replayed:,}" if group.replayed else "",
            _moment(group.oldest),
            _moment(group.newest),
            _cell(_example(sample)),
        )
    return table


_COLUMNS = (("service", 11), ("kind", 8), ("id", 12), ("reason", 17), ("error", 24), ("code", 8), ("set aside", 19))
"""Columns of the lines of letters, and their widths: the widest text is not known before all have come."""


def letters_heading() -> str:
    """The line above those of letters."""
    return _line([*(name for name, _ in _COLUMNS), "load", "replays", "text"])


def letter_line(letter: Letter) -> str:
    """A line for one letter."""
    name = letter.error_class.rpartition(".")[2]
    texts = (letter.service, letter.kind, letter.id, letter.reason, name, letter.code, _moment(letter.time))
    return _line([*texts, letter.load or "", str(letter.replays), _cut(letter.text)])


def _line(cells: Sequence[str]) -> str:
    widths = (*(width for _, width in _COLUMNS), 8, 7, 0)
    return "  ".join(_visible(cell).ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def show_letters(letters: Sequence[Letter], console: Console) -> None:
    """Everything about each letter, its body too."""
    if not letters:
        console.print("no such letter")
    for letter in letters:
        _show_letter(letter, console)


def _show_letter(letter: Letter, console: Console) -> None:
    console.rule(_cell(f"{letter.service} {letter.kind} {letter.id or '(no id)'}"), align="left")
    for name, value in (
        ("reason", letter.reason),
        ("error", f"{letter.error_class} {letter.code}".strip()),
        ("text", letter.text),
        ("set aside", _moment(letter.time)),
        ("load", letter.load or ""),
        ("replays", str(letter.replays)),
        ("body", f"{len(letter.stored.body):,} bytes"),
    ):
        console.print(f"{name:>10}  {value.translate(_VISIBLE)}", markup=False, highlight=False)
    console.print(body_text(letter), markup=False, highlight=False, soft_wrap=True)


def body_text(letter: Letter) -> str:
    """The body, indented where it is JSON; a byte that is no text as its number."""
    text = letter.stored.body.decode("utf-8", "backslashreplace")
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    return text.translate(_VISIBLE)


def _example(letter: Letter) -> str:
    return f"{letter.id}: {_cut(letter.text)}" if letter.id else _cut(letter.text)


def _cell(text: str) -> str:
    return escape(text.translate(_VISIBLE))


def _visible(text: str) -> str:
    return " ".join(text.split()).translate(_VISIBLE)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _CUT else line[: _CUT - 1] + "…"


def _moment(time: datetime | None) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""
