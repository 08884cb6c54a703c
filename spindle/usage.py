"""The page of all commands, docs/commands.md, from their parsers: what each `--help` says, on one page.

`python -m spindle.usage` prints it; `--check` compares it with the page.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from extractor import arguments as extractor
from extractor.fetching import command as fetching
from spindle import cli
from spindle.pages import print_or_check

PAGE = Path("docs/commands.md")

_BEFORE = """\
# Commands

What each `--help` says, on one page; `make docs` writes it from the same parsers. In compose it is `docker compose run
--rm spindle …` and `docker compose run --rm extractor …`. The services `graphinator` and `tableinator` take no options
but `--help` and `--version`: their settings are variables ([configuration.md](configuration.md)). What to do when is in
[operating.md](operating.md).
"""
_SPECIAL = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;", "*": "\\*"})


def page() -> str:
    """The whole page."""
    programs = (cli.whole_parser(), extractor.whole_parser(), fetching.whole_parser())
    return "\n".join([_BEFORE, *(line for program in programs for line in _section(program, 2))]).rstrip() + "\n"


def _section(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    yield from (f"{'#' * level} {parser.prog}", "")
    yield from _prose(parser.description)
    inner: list[argparse.ArgumentParser] = []
    rows = list[str]()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner += action.choices.values()
        elif not isinstance(action, argparse._HelpAction | argparse._VersionAction):
            rows.append(f"| {_invocation(action)} | {_purpose(parser, action)} |")
    if rows:
        yield from ("| | |", "|---|---|", *rows, "")
    yield from _prose(parser.epilog)
    for each in inner:
        yield from _section(each, min(level + 1, 4))


def _prose(text: str | None) -> Iterator[str]:
    """Paragraphs as they are; those with columns of their own as such."""
    for paragraph in re.split(r"\n\s*\n", (text or "").strip("\n")):
        if re.search(r"^ ", paragraph, re.MULTILINE):
            yield from ("```", paragraph, "```", "")
        elif paragraph:
            yield from (paragraph.translate(_SPECIAL), "")


def _invocation(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    if action.nargs == 0:
        return names
    value = action.metavar or (
        ", ".join(map(str, action.choices)) if action.choices is not None else action.dest.upper()
    )
    value = f"`{value}`"
    if action.nargs in ("?", "*"):
        value = f"[{value}]"
    needed = ", needed" if action.option_strings and action.required else ""
    return f"{names} {value}{needed}".strip()


def _purpose(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    said = (action.help or "") % {**vars(action), "prog": parser.prog}
    return said.translate(_SPECIAL)


def main(arguments: list[str]) -> int:
    """Print the page, or see that the one in docs is it."""
    return print_or_check(arguments, PAGE, page, source="commands")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
