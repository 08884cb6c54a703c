"""`spindle lint`: whether the programs would start with these settings. Offline: no server is asked."""

import argparse
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from common.errors import SettingsError
from common.ops.checks import State
from spindle.doctor.command import as_data, as_table, verdict
from spindle.doctor.configuration import settings_checks
from spindle.output import readers_may_leave, wide_console
from spindle.schema import schema

_ABOUT = """\
Check settings without any server: every wrong value at once, with what is allowed, and names that look like settings
but are none. They come from the environment, or from files as docker compose reads them.

exit codes: 0 all is well; 1 warnings; 2 a program would not start
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "lint",
        help="whether the programs would start with these settings; no server is asked",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--env-file",
        type=Path,
        action="append",
        metavar="F",
        help="NAME=value lines instead of the environment; several: the last one counts",
    )
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of all settings, and end")
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, and show; return the exit code."""
    with readers_may_leave():
        if arguments.schema:
            print(json.dumps(schema(), indent=2))
            return 0
        checks = list(settings_checks(_environment(arguments.env_file)))
        if arguments.json:
            print(json.dumps(as_data(checks), indent=2))
        else:
            wide_console().print(as_table([check for check in checks if check.state is not State.OK] or checks))
    return verdict(checks)


def _environment(files: list[Path] | None) -> Mapping[str, str]:
    if not files:
        return os.environ
    found: dict[str, str] = {}
    for file in files:
        try:
            values = dotenv_values(stream=io.StringIO(file.read_text(encoding="utf-8")), interpolate=False)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise SettingsError(f"--env-file {file} ({reason}); allowed is a file of NAME=value lines.") from error
        found |= {name: value or "" for name, value in values.items()}
    return found
