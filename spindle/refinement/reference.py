"""The page of the refined tables, docs/refined-tables.md, from the definitions: it can't say anything else.

`python -m spindle.refinement.reference` prints it; `--check` compares it with the page.
"""

import sys
from pathlib import Path

from spindle.pages import print_or_check
from tableinator.ops.refinement.definitions import ORDER, TABLES, Table, indexes

PAGE = Path("docs/refined-tables.md")

_BEFORE = """# The refined tables, column by column

`make docs` writes this page from the definitions that the statements are generated from. What each is for, and how it
differs from discogs-xml2db, is in [refine.md](refine.md). A column in *italics* is ours: discogs-xml2db has none like
it. A table's key is what tells a record's rows apart; an empty text is always null.
"""


def page() -> str:
    """The whole page."""
    lines = [_BEFORE]
    for kind in ORDER:
        lines += [f"## From {kind}", ""]
        for table in TABLES:
            if table.kind == kind:
                lines += _section(table)
    lines += ["## Indexes", "", "| index | on | by | made |", "|---|---|---|---|"]
    for index in indexes():
        by = "trigrams, or words" if index.with_trigrams else index.method
        made = "before the first changed record" if index.needed else "by `--indexes`"
        lines.append(f"| `{index.name}` | `{index.table} {index.columns}` | {by} | {made} |")
    return "\n".join(lines) + "\n"


def _section(table: Table) -> list[str]:
    key = ", ".join((table.parent, *table.key))
    lines = [f"### {table.name}", "", f"{table.about[0].upper()}{table.about[1:]}. Key: `{key}`.", ""]
    lines += ["| column | type | what it is |", "|---|---|---|"]
    for column in table.columns:
        name = f"*`{column.name}`*" if column.ours else f"`{column.name}`"
        lines.append(f"| {name} | {column.type} | {column.about} |")
    return [*lines, ""]


def main(arguments: list[str]) -> int:
    """Print the page, or see that the one in docs is it."""
    return print_or_check(arguments, PAGE, page, source="definitions")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
