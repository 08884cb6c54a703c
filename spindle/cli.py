"""The operator's command: `spindle <command>`. A command is a module with `register`, which sets `run`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from common import VERSION
from common.errors import SettingsError, SpindleError, StartRefused
from spindle import completion, lint, manifest
from spindle.advice import command as advising
from spindle.checking import command as checking
from spindle.dead_letters import command as dead_letters
from spindle.doctor import command as doctor
from spindle.ledger import loads, pausing
from spindle.loading import command as loading
from spindle.output import NOBODY_READS, silence, write_any_text
from spindle.refinement import command as refinement
from spindle.removal import command as removal
from spindle.reprocessing import command as reprocessing
from spindle.show import command as show
from spindle.status import command as status
from spindle.verification import command as verification

COMMANDS: tuple[ModuleType, ...] = (
    status,
    advising,
    loads,
    doctor,
    lint,
    dead_letters,
    loading,
    checking,
    removal,
    refinement,
    show,
    verification,
    manifest,
    reprocessing,
    pausing,
    completion,
)

_ABOUT = "Carry records from RabbitMQ into Neo4j and PostgreSQL: watch it, and see that all has arrived."
_MORE = "`spindle COMMAND --help` tells what a command does, which options it takes, and what its exit codes mean."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 2 for what the caller can fix, 1 for what failed."""
    return _told(lambda: _run(_parsed(whole_parser(), argv)))


def whole_parser() -> argparse.ArgumentParser:
    """What reads the command line: every command, with its options."""
    parser = argparse.ArgumentParser(prog="spindle", description=_ABOUT, epilog=_MORE)
    parser.add_argument("--version", action="version", version=f"spindle {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.register(commands)
    return parser


def ended(arguments: argparse.Namespace) -> int:
    """Run a command whose arguments are read; return its exit code, as `main` does."""
    return _told(lambda: _run(arguments))


def _told(run: Callable[[], int]) -> int:
    """Run, and have standard output written to its end, whatever its encoding, while somebody reads it."""
    try:
        write_any_text()
        code = run()
        sys.stdout.flush()  # here, and not when the process ends: nobody could say any more what is wrong
    except BrokenPipeError:
        silence()
        return NOBODY_READS
    return code


def _run(arguments: argparse.Namespace) -> int:
    try:
        return int(arguments.run(arguments))
    except (SettingsError, StartRefused) as error:
        return _failed(error, 2)
    except SpindleError as error:
        return _failed(error, 1)
    except KeyboardInterrupt:
        return 130


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    try:
        return parser.parse_args(argv)
    except SystemExit:  # of --help
        sys.stdout.flush()
        raise


def _failed(error: SpindleError, code: int) -> int:
    print(f"spindle: {error}", file=sys.stderr)
    return code
