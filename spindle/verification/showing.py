"""The findings of a verification, for a person."""

from collections.abc import Iterator

from rich.table import Table

from spindle.verification.findings import Finding, GraphFindings, Verification, edge_text


def records_table(verification: Verification) -> Table:
    """A row per kind and store."""
    table = Table("kind", "store", box=None, pad_edge=False)
    for heading in ("expected", "agreeing", "missing", "different", "newer", "other records", "edges missing", "extra"):
        table.add_column(heading, justify="right")
    table.add_column("verified")
    for found in verification.stores:
        counts = (found.expected, found.agreeing, found.missing.count, found.different.count, found.newer, found.others)
        edges = (found.missing_edges.count, found.extra_edges.count) if isinstance(found, GraphFindings) else ("", "")
        table.add_row(found.kind, found.store, *map(number, (*counts, *edges)), yes_or_no(found.agrees))
    return table


def edges_table(verification: Verification) -> Table:
    """A row per sort of edge."""
    table = Table("edge", box=None, pad_edge=False)
    for heading in ("expected", "stored", "all in the graph"):
        table.add_column(heading, justify="right")
    for name, count in verification.edges().items():
        table.add_row(edge_text(name), *map(number, (count.expected, count.stored, count.all)))
    return table


def problem_lines(verification: Verification) -> Iterator[str]:
    """A line per sort of problem, with the first few ids."""
    for found in verification.stores:
        for name, finding in found.problems():
            if finding.count:
                yield f"{found.store}: {finding.count:,} {name}: {_examples(finding)}"
    for name, finding in verification.problems():
        if finding.count:
            yield f"neo4j: {finding.count:,} {name}: {_examples(finding)}"
    for found in verification.stores:
        if found.expected and not found.compared:
            yield f"{found.store}: no record of {found.kind} was compared: all are stored from a newer load"
    for sentence in verification.unknown:
        yield f"can't tell: {sentence}"


def passed_over_lines(verification: Verification) -> Iterator[str]:
    """What was not compared, and is no failure."""
    for found in verification.stores:
        if found.newer:
            yield f"{found.store}: {found.newer:,} records of {found.kind} are stored from a newer load: not compared"
    if verification.others_edges:
        yield f"neo4j: {verification.others_edges:,} edges are somebody else's (of other types, or on other nodes)"


def verdict(verification: Verification) -> str:
    """In colour, with how much of the load it is about."""
    compared = f"{verification.compared:,} records compared in both stores together, {verification.newer:,} passed over"
    if verification.disagrees or not (verification.compared or verification.unknown):
        return f"[bold red]NOT verified[/]: {compared}"
    if verification.unknown:
        return f"[bold yellow]can't tell[/]: {compared}"
    return f"[green]verified[/]: {compared}"


def skipped_lines(verification: Verification) -> Iterator[str]:
    """A line per kind whose source holds records that nobody could read, and that were therefore not compared."""
    for kind, reasons in verification.skipped.items():
        told = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        yield f"{kind}: {sum(reasons.values()):,} records of the source were skipped and not compared: {told}"


def number(value: int | str) -> str:
    """With separators; what is no number as it is."""
    return f"{value:,}" if isinstance(value, int) else value


def yes_or_no(agrees: bool) -> str:
    """In colour."""
    return "[green]yes[/]" if agrees else "[bold red]NO[/]"


def _examples(finding: Finding) -> str:
    return ", ".join(finding.examples) + ("" if len(finding.examples) == finding.count else ", …")
