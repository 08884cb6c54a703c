"""`spindle completion`: what a shell needs to complete this command."""

import argparse
from collections.abc import Mapping
from pathlib import Path

SHELLS = ("bash", "zsh", "tcsh")

_ABOUT = """\
Print what a shell needs to complete commands, options and files of `spindle`. In a shell's start-up file:

  bash   eval "$(spindle completion bash)"
  zsh    eval "$(spindle completion zsh)"      (behind compinit)

With containers, write it into a file once, and name the command: spindle() { docker compose run --rm spindle "$@"; }
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "completion",
        help="what a shell needs to complete commands and options",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="which")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it; return the exit code."""
    print(script(arguments.shell))
    return 0


def script(shell: str) -> str:
    """The shell's program that completes every command."""
    import shtab  # here, because no other command needs it

    from spindle.cli import whole_parser  # (which knows this command too)

    parser = whole_parser()
    _complete_files(parser, shtab.FILE)
    return shtab.complete(parser, shell=shell)


def _complete_files(parser: argparse.ArgumentParser, how: Mapping[str, object]) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                _complete_files(each, how)
        elif action.type is Path:
            action.complete = how  # type: ignore[attr-defined]  # which is what shtab looks for
