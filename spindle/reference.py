"""The page of all settings, docs/configuration.md: what each is for from .env.example, what is allowed from the models.

`python -m spindle.reference` prints it; `--check` compares it with the page.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from common.settings.environment import Settings, variables
from extractor.settings import ExtractorSettings
from graphinator.settings import GraphinatorSettings
from spindle.pages import print_or_check
from spindle.settings import OperatorSettings
from tableinator.settings import TableinatorSettings

PROGRAMS: dict[str, type[Settings]] = {
    "graphinator": GraphinatorSettings,
    "tableinator": TableinatorSettings,
    "extractor": ExtractorSettings,
    "spindle": OperatorSettings,
}
EXAMPLE = Path(".env.example")
PAGE = Path("docs/configuration.md")

_HEADING = re.compile(r"# ---- (.+?) ----")
_VARIABLE = re.compile(r"#([A-Z0-9_]+)=(.*)")
_BEFORE = """# Configuration

Every setting is an environment variable, and each may also come from a file:
`POSTGRES_PASSWORD_FILE=/run/secrets/postgres_password`. The file of a password or of an address with one is read again
for each new connection, so a rotation needs no restart. An empty variable is an unset one. A wrong value ends the
program with exit code 2 and one sentence that names the variable, the value and what is allowed. Durations are
seconds. `make docs` writes this page from the settings models and `.env.example`.
"""
_SPECIAL = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One variable as .env.example has it."""

    section: str
    name: str
    default: str
    purpose: str


def entries(example: str) -> Iterator[Entry]:
    """Read .env.example: a heading begins a section, comments say what the next variable is for."""
    section, purpose = "", list[str]()
    for line in example.splitlines():
        if heading := _HEADING.match(line):
            section, purpose = heading[1], []
        elif variable := _VARIABLE.fullmatch(line):
            yield Entry(section, variable[1], variable[2], " ".join(purpose))
            purpose = []
        elif line.startswith("# "):
            purpose.append(line[2:])
        else:
            purpose = []


def page(example: str) -> str:
    """The whole page, from .env.example and the models."""
    models = {name: field for each in PROGRAMS.values() for name, field in variables(each)}
    listed = [entry for entry in entries(example) if entry.name in models]  # the others are read by compose alone
    rest = models.keys() - {entry.name for entry in listed}
    listed += [Entry("The operator's command alone", name, _shown(models[name].default), "") for name in sorted(rest)]
    lines = [_BEFORE]
    for section, of_section in groupby(listed, key=attrgetter("section")):
        lines += [f"## {section}", "", "| variable | default | what for | allowed |", "|---|---|---|---|"]
        lines += [_row(entry, models[entry.name].description or "") for entry in of_section]
        lines.append("")
    return "\n".join(lines)


def _row(entry: Entry, allowed: str) -> str:
    default = f"`{entry.default}`" if entry.default else "–"
    cells = f"`{entry.name}`", default, entry.purpose.translate(_SPECIAL), allowed.translate(_SPECIAL)
    return f"| {' | '.join(cells)} |"


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return default if isinstance(default, str) else ""  # a default that is computed is none to show


def main(arguments: list[str]) -> int:
    """Print the page, or see that the one in docs is it."""
    return print_or_check(arguments, PAGE, lambda: page(EXAMPLE.read_text()), source="settings")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
