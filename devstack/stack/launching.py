"""Start the stack's processes: each in a session of its own, without input, into a log."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from devstack.stack.processes import MARK, ProcessRef, identify


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `user` is the account to run as, None for the current one."""

    name: str
    argv: Sequence[str]
    folder: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    port: int | None = None  # the next command starts only once this one answers here


def launch(command: Command, *, mark: str) -> tuple[ProcessRef, subprocess.Popen[bytes]]:
    """Start a command in a session of its own, without input, so that it outlives the terminal and this process."""
    if command.log.exists():
        command.log.replace(command.log.with_suffix(".log.1"))
    with os.fdopen(os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        child = subprocess.Popen(  # noqa: S603  (the argument list is ours)
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=command.folder,
            env={**clean_environment(), **command.environment, MARK: mark},
            start_new_session=True,
            umask=0o077,
            **_identity(command.user),
        )
    found = identify(child.pid)
    assert found is not None  # noqa: S101  (it is our child: at least a zombie until it is waited for)
    return found, child


def run_once(command: Command, *, timeout: float = 120.0, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a preparing command to its end with the same identity and environment as the server that it prepares."""
    return subprocess.run(  # noqa: S603  (the argument list is ours)
        command.argv,
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=command.folder,
        env={**clean_environment(), **command.environment},
        umask=0o077,
        **_identity(command.user),
    )


def clean_environment() -> dict[str, str]:
    """Return the environment without what would steer a server from outside (RABBITMQ_…, PG…, NEO4J_…)."""
    foreign = ("RABBITMQ_", "PG", "POSTGRES_", "NEO4J_", "ERL_", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "NOTIFY_SOCKET")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


class _Identity(TypedDict):
    user: str | None
    group: str | None
    extra_groups: list[str | int] | None


def _identity(user: str | None) -> _Identity:
    return {"user": user, "group": user, "extra_groups": None if user is None else []}
