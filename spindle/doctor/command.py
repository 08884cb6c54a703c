"""`spindle doctor`: what would fail in a load, and what to do about it, before it begins."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from common.ops.checks import Check, State
from common.rabbitmq.ops.permissions import Login
from spindle.doctor.checkup import check_everything
from spindle.environments import add_stack_argument, environment_of, find_stack
from spindle.output import readers_may_leave, wide_console
from spindle.sources import add_source_arguments, open_source

_ABOUT = """\
Look, before a load, at what would fail in it: the settings; RabbitMQ's version, permissions and what exists there under
our names; the versions of PostgreSQL and Neo4j, grants, tables and constraints; clocks; free disk. Rows and nodes are
written for trial and rolled back: nothing is changed.

With a load named, free disk is compared with what it takes: RabbitMQ's, of which its management API tells, and that of
DOCTOR_DISK, a folder on the disk that all servers share, where it is set (in the compose stack it is).

The settings are checked as this environment has them: run it with the services' own. Where the services and the
extractor have logins of their own (deploy/grants), run it with each, and say which it is by --login-of.

exit codes: 0 all is well; 1 warnings; 2 something would fail, or could not be asked
"""
_COLOURS = {
    State.OK: "green",
    State.UNKNOWN: "dim",
    State.UNASKED: "yellow",
    State.WARNING: "yellow",
    State.FAILED: "bold red",
}


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "doctor",
        help="what would fail in a load, before it begins",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source_arguments(parser, records=None, optional=True)
    add_stack_argument(parser)
    parser.add_argument(
        "--login-of",
        type=Login,
        choices=list(Login),
        default=Login.ALL,
        help="look only for the permissions that these need (default: all)",
    )
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look, and show; return the exit code."""
    named = arguments.synthetic is not None or arguments.dumps is not None
    load = open_source(arguments).load if named else None
    environ = environment_of(arguments)
    home = find_stack(arguments.stack_env).home if arguments.stack_env is not None else None
    checks = asyncio.run(check_everything(environ, load, home, arguments.login_of))
    with readers_may_leave():
        if arguments.json:
            print(json.dumps(as_data(checks), indent=2))
        else:
            wide_console().print(as_table(checks))
            print(_summary(checks), file=sys.stderr)
    return verdict(checks)


def verdict(checks: Sequence[Check]) -> int:
    """The exit code; what nobody could tell is no fault, and what did not answer is no ok."""
    states = {check.state for check in checks}
    return 2 if states & {State.FAILED, State.UNASKED} else 1 if State.WARNING in states else 0


def as_table(checks: Sequence[Check]) -> Table:
    """A row per check."""
    table = Table("where", "what", "", "", box=None, pad_edge=False, show_header=False)
    for check in checks:
        table.add_row(check.server, check.name, Text(check.state, style=_COLOURS[check.state]), Text(check.sentence))
    return table


def as_data(checks: Sequence[Check]) -> dict[str, object]:
    """The same for a program."""
    failed = any(check.state is State.FAILED for check in checks)
    return {
        "verdict": ("ok", "warning", "failed" if failed else "unknown")[verdict(checks)],
        "checks": [
            {"server": check.server, "name": check.name, "state": check.state.value, "sentence": check.sentence}
            for check in checks
        ],
    }


def _summary(checks: Sequence[Check]) -> str:
    counts = {state: sum(check.state is state for check in checks) for state in State}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)
