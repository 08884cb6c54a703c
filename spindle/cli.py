"""The operator's command: `spindle <command>`. A command is a module with `register`, which sets `run`."""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from common.errors import SettingsError, SpindleError, StartRefused
from spindle import lint
from spindle.dead_letters import command as dead_letters
from spindle.demo import command as demo
from spindle.doctor import command as doctor
from spindle.output import NOBODY_READS, silence
from spindle.stack import command as stack
from spindle.status import command as status
from spindle.verification import command as verification

COMMANDS: tuple[ModuleType, ...] = (demo, status, doctor, lint, dead_letters, verification, stack)

_ABOUT = "Carry records from RabbitMQ into Neo4j and PostgreSQL: try it, watch it, and see that all has arrived."
_MORE = "`spindle COMMAND --help` tells what a command does, which options it takes, and what its exit codes mean."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 2 for what the caller can mend, 1 for what failed."""
    parser = argparse.ArgumentParser(prog="spindle", description=_ABOUT, epilog=_MORE)
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.register(commands)
    arguments = _parsed(parser, sys.argv[1:] if argv is None else argv)
    try:
        return int(arguments.run(arguments))
    except (SettingsError, StartRefused) as error:
        return _failed(error, 2)
    except SpindleError as error:
        return _failed(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        silence()
        return NOBODY_READS


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    try:
        return parser.parse_args(argv)
    except SystemExit as end:
        if end.code and "demo" in argv[:1]:
            demo.refuse(argv[1:])
        raise


def _failed(error: SpindleError, code: int) -> int:
    print(f"spindle: {error}", file=sys.stderr)
    return code
