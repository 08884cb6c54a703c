"""The operator's command: `spindle <command>`. A command is a module with `register`, which sets `run`."""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from common.errors import SettingsError, SpindleError, StartRefused
from spindle.dead_letters import command as dead_letters
from spindle.demo import command as demo
from spindle.doctor import command as doctor
from spindle.stack import command as stack
from spindle.status import command as status
from spindle.verification import command as verification

COMMANDS: tuple[ModuleType, ...] = (demo, status, doctor, dead_letters, verification, stack)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 2 for what the caller can mend, 1 for what failed."""
    parser = argparse.ArgumentParser(prog="spindle", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.register(commands)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (SettingsError, StartRefused) as error:
        return _failed(error, 2)
    except SpindleError as error:
        return _failed(error, 1)
    except KeyboardInterrupt:
        return 130


def _failed(error: SpindleError, code: int) -> int:
    print(f"spindle: {error}", file=sys.stderr)
    return code
