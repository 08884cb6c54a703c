"""The operator's command: `spindle <command>`. A command is a module with `register`, which sets `run`."""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from common.errors import SettingsError, SpindleError, StartRefused
from spindle import lint
from spindle.dead_letters import command as dead_letters
from spindle.doctor import command as doctor
from spindle.output import NOBODY_READS, silence
from spindle.status import command as status
from spindle.verification import command as verification

COMMANDS: tuple[ModuleType, ...] = (status, doctor, lint, dead_letters, verification)

_ABOUT = "Carry records from RabbitMQ into Neo4j and PostgreSQL: watch it, and see that all has arrived."
_MORE = "`spindle COMMAND --help` tells what a command does, which options it takes, and what its exit codes mean."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 2 for what the caller can mend, 1 for what failed."""
    parser = argparse.ArgumentParser(prog="spindle", description=_ABOUT, epilog=_MORE)
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.register(commands)
    return ended(parser.parse_args(argv))


def ended(arguments: argparse.Namespace) -> int:
    """Run a command whose arguments are read; return its exit code, as `main` does."""
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


def _failed(error: SpindleError, code: int) -> int:
    print(f"spindle: {error}", file=sys.stderr)
    return code
