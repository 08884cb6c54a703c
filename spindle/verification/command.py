"""`spindle verify`: do both stores hold what a load has published?"""

import argparse
import asyncio
import json
import sys

from rich.console import Console
from rich.markup import escape

from common.errors import StartRefused, StoreUnavailable
from common.settings.environment import load as load_settings
from graphinator.settings import Neo4jSettings
from spindle.environments import add_stack_argument, environment_of
from spindle.output import readers_may_leave, wide_console
from spindle.sources import add_source_arguments, open_source
from spindle.verification.findings import Verification, as_data
from spindle.verification.showing import (
    edges_table,
    passed_over_lines,
    problem_lines,
    records_table,
    skipped_lines,
    verdict,
)
from spindle.verification.verifying import verify
from tableinator.settings import PostgresSettings


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    summary = "compare both stores with a load, which is made or read again"
    parser = commands.add_parser(
        "verify", help=summary, description=f"{summary}; exit code 0: they agree, 1: not, 2: can't tell"
    )
    add_source_arguments(parser, records=None)
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Verify and show; return the exit code."""
    source = open_source(arguments)
    environ = environment_of(arguments)
    postgres, neo4j = load_settings(PostgresSettings, environ), load_settings(Neo4jSettings, environ)
    try:
        verification = asyncio.run(verify(source.load, name=source.name, postgres=postgres, neo4j=neo4j, say=_say))
    except StoreUnavailable as error:
        raise StartRefused(
            f"A store can't be read: {error}. PostgreSQL is {postgres.address}, Neo4j {neo4j.address}: from POSTGRES_… "
            "and NEO4J_… in the environment, or of the native stack with --stack-env."
        ) from error
    with readers_may_leave():
        if arguments.json:
            print(json.dumps(as_data(verification), indent=2))
        else:
            show(verification, wide_console())
    return exit_code(verification)


def exit_code(verification: Verification) -> int:
    """0: they agree; 1: they don't, or nothing was compared; 2: what was seen agrees, and the rest can't be told."""
    if verification.agrees:
        return 0
    return 1 if verification.disagrees or not verification.unknown else 2


def show(verification: Verification, console: Console) -> None:
    """Print everything that was found."""
    console.print(f"[bold]{escape(verification.load)}[/]", highlight=False)
    console.print(records_table(verification))
    console.print(edges_table(verification))
    for line in skipped_lines(verification):
        console.print(line, style="yellow", markup=False, highlight=False)
    for line in problem_lines(verification):
        console.print(line, style="red", markup=False, highlight=False)
    for line in passed_over_lines(verification):
        console.print(line, style="yellow", markup=False, highlight=False)
    console.print(verdict(verification), highlight=False)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
