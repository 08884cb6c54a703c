"""Which servers a command is about: those of the environment's variables, or the native stack's."""

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from common.errors import StartRefused

if TYPE_CHECKING:
    from devstack.stack.native import NativeStack


def add_stack_argument(parser: argparse.ArgumentParser) -> None:
    """Let a command be about the native stack."""
    parser.add_argument(
        "--stack-env",
        nargs="?",
        const="default",
        metavar="NAME",
        help="the servers of the native stack (of this name), not those of the environment's variables",
    )


def environment_of(arguments: argparse.Namespace) -> Mapping[str, str]:
    """The variables that lead to the servers that are meant.

    Raises: StartRefused if a native stack is meant and there is none.
    """
    return os.environ if arguments.stack_env is None else stack_environment(find_stack(arguments.stack_env))


def find_stack(name: str) -> "NativeStack":
    """The native stack of this name.

    Raises: StartRefused if there is none.
    """
    try:
        from devstack.stack.files import default_home
        from devstack.stack.native import SERVERS, NativeStack
    except ModuleNotFoundError as error:  # an image holds no tools for development
        raise StartRefused("--stack-env is for a clone of the project: there is no native stack here") from error
    stack = NativeStack(default_home(name))
    if not all(stack.member(server).place.ports for server in SERVERS):
        raise StartRefused(f"there is no stack in {stack.home}; start one with: python -m devstack up")
    return stack


def stack_environment(stack: "NativeStack") -> Mapping[str, str]:
    """Addresses and passwords of a native stack, the addresses of its services' metrics included.

    Where the servers are is the stack's to say, and everything else the user's, as for the services themselves.
    """
    from devstack.stack.service import settings_of_the_user

    return {**settings_of_the_user(), **stack.places(), **stack.environment()}
