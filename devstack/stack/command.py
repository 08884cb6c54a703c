"""`python -m devstack install|up|down|status|env`: the native stack from the command line."""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

from common.errors import StartRefused
from devstack.stack import installing, status
from devstack.stack.class_archive import make_class_archive
from devstack.stack.files import default_home
from devstack.stack.native import SERVERS, SERVICES, NativeStack
from spindle.output import Screen, readers_may_leave
from spindle.stopping import stop_on_sigterm


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add these commands."""
    install = commands.add_parser("install", help="install what is missing, start nothing")
    install.set_defaults(run=_install)
    up = _action(commands, "up", _up, "install what is missing, start servers and services")
    up.add_argument("--no-services", action="store_true", help="only the servers")
    down = _action(commands, "down", _down, "stop everything; the data stays")
    down.add_argument("--erase", action="store_true", help="remove the data too")
    _action(commands, "status", _status, "exit code 0: all running, 1: something is not, 2: nothing is")
    _action(
        commands,
        "env",
        _env,
        "print the addresses, those of the services' metrics too, and the passwords, as lines for a shell",
    )


def _action(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: object,
    summary: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.add_argument("--name", default="default", type=_name, help="one of several stacks side by side")
    parser.add_argument("--home", type=Path, help="the data folder, instead of one made from the name")
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)
    return parser


def _name(text: str) -> str:
    if not text.replace("-", "").replace("_", "").isalnum():
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of letters, digits, - and _")
    return text


def _install(_arguments: argparse.Namespace) -> int:
    installing.install(SERVERS, _say)
    make_class_archive(_say)
    return 0


def _up(arguments: argparse.Namespace) -> int:
    stack = _stack(arguments)
    stop_on_sigterm()
    started = stack.up(SERVERS, () if arguments.no_services else SERVICES)
    if not started:
        _say("already running")
    return _show(arguments, stack)


def _down(arguments: argparse.Namespace) -> int:
    stack = _stack(arguments)
    stopped = stack.down()
    erased = arguments.erase and stack.home.exists()
    if erased:
        stack.erase()
    if arguments.json:
        print(json.dumps({"home": str(stack.home), "stopped": stopped, "erased": erased}))
    else:
        _say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
        if arguments.erase:
            _say(f"removed {stack.home}" if erased else f"there is no data in {stack.home}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    return _show(arguments, _stack(arguments))


def _env(arguments: argparse.Namespace) -> int:
    stack = _stack(arguments)
    if not all(stack.member(name).place.ports for name in SERVERS):
        raise StartRefused(f"there is no stack in {stack.home}; start one with: python -m devstack up")
    variables = stack.environment() | stack.places()
    if arguments.json:
        print(json.dumps(variables))
    else:
        print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()))
    return 0


def _show(arguments: argparse.Namespace, stack: NativeStack) -> int:
    rows = status.look(stack)
    with readers_may_leave():
        if arguments.json:
            print(json.dumps(status.as_data(stack, rows)))
        elif rows:
            console = Screen()
            console.print(status.as_table(rows))
            console.print(f"data: {stack.home}\nlogs: {stack.home / 'logs'}", soft_wrap=True, highlight=False)
        else:
            _say(f"there is no stack in {stack.home}")
    return int(status.verdict(rows))


def _stack(arguments: argparse.Namespace) -> NativeStack:
    home = arguments.home or default_home(arguments.name)
    return NativeStack(Path(os.path.abspath(home)), say=_say)  # noqa: PTH100  (resolve() would follow links)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
