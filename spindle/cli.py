"""The operator's command: `spindle <command>`. A command is a module with `register`, which sets `run`."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module

from common import VERSION
from common.errors import SettingsError, SpindleError, StartRefused
from spindle.output import NOBODY_READS, silence, write_any_text

COMMANDS = {
    "status": "spindle.status.command",
    "advise": "spindle.advice.command",
    "loads": "spindle.ledger.loads",
    "doctor": "spindle.doctor.command",
    "lint": "spindle.lint",
    "dead-letters": "spindle.dead_letters.command",
    "load": "spindle.loading.command",
    "check": "spindle.checking.command",
    "remove": "spindle.removal.command",
    "refine": "spindle.refinement.command",
    "show": "spindle.show.command",
    "verify": "spindle.verification.command",
    "manifest": "spindle.manifest",
    "reprocess": "spindle.reprocessing.command",
    "pause": "spindle.ledger.pausing",
    "resume": "spindle.ledger.pausing",
    "completion": "spindle.completion",
}
"""Each command's module, in the order of the help."""

_ABOUT = "Carry records from RabbitMQ into Neo4j and PostgreSQL: watch it, and see that all has arrived."
_MORE = "`spindle COMMAND --help` tells what a command does, which options it takes, and what its exit codes mean."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 2 for what the caller can fix, 1 for what failed."""
    argv = sys.argv[1:] if argv is None else argv
    return _told(lambda: _run(_parsed(_parser(_modules(argv)), argv)))


def whole_parser() -> argparse.ArgumentParser:
    """What reads the command line: every command, with its options."""
    return _parser(dict.fromkeys(COMMANDS.values()))


def _parser(modules: Iterable[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spindle", description=_ABOUT, epilog=_MORE)
    parser.add_argument("--version", action="version", version=f"spindle {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for module in modules:
        import_module(module).register(commands)
    return parser


def _modules(argv: Sequence[str]) -> Iterable[str]:
    """The module of the command that is asked for, else all: what a command does not need is not imported."""
    first = argv[0] if argv else ""
    if first == "--version":
        return ()
    return [COMMANDS[first]] if first in COMMANDS else dict.fromkeys(COMMANDS.values())


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


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    try:
        return parser.parse_args(argv)
    except SystemExit:  # of --help
        sys.stdout.flush()
        raise


def _failed(error: SpindleError, code: int) -> int:
    print(f"spindle: {error}", file=sys.stderr)
    return code
