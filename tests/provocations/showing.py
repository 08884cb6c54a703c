"""What was found, for a person: a line when it is, and a table in the end."""

from collections.abc import Sequence

from rich.table import Table

from tests.provocations.judging import Row


def line(row: Row) -> str:
    """One situation, as soon as it is over."""
    right = "as expected" if row.is_right else "NOT AS EXPECTED"
    said = row.error or f"{_findings(row)}; {row.verdict}"
    return f"{right}  {row.name} ({row.expected}), {row.seconds} s: {said}"


def table(rows: Sequence[Row]) -> Table:
    """All of them."""
    shown = Table("situation", "how it was made", "finding (share)", "expected", "right", box=None, pad_edge=False)
    for row in rows:
        shown.add_row(
            row.name, row.how, row.error or _findings(row), row.expected, "yes" if row.is_right else "[red]NO[/]"
        )
    return shown


def _findings(row: Row) -> str:
    return ", ".join(f"{limit} ({share:.0%})" for limit, share in row.found) or f"none: {row.limit}"
