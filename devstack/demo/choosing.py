"""Containers where they can be had, else native processes; a wish decides without looking."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from common.errors import StartRefused
from devstack.demo.compose import ComposeServices
from devstack.demo.stacks import NativeServices, Stack


class Wish(StrEnum):
    """Which stack is asked for."""

    AUTO = "auto"
    COMPOSE = "compose"
    NATIVE = "native"


def choose_stack(wish: Wish, *, home: Path, say: Callable[[str], None]) -> Stack:
    """The stack to use; `home` is the native one's folder.

    Raises: StartRefused if containers are asked for and can't be had.
    """
    if wish is Wish.NATIVE:
        return NativeServices(home, say)
    compose = ComposeServices(say)
    reason = compose.reason_against()
    if reason is None:
        return compose
    if wish is Wish.COMPOSE:
        raise StartRefused(f"the stack can't run as containers: {reason}")
    say(f"native processes instead of containers: {reason}")
    return NativeServices(home, say)
