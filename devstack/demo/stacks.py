"""What a demo must know of a stack, and the native one."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from devstack.stack.files import default_home
from devstack.stack.launching import clean_environment
from devstack.stack.native import SERVERS, SERVICES, NativeStack
from devstack.stack.service import metrics_url
from spindle.sources import Source

LOGGING = {"LOG_FORMAT": "logfmt", "LOG_LEVEL": "info"}
"""How the extractor must write, so that its progress can be read from its log."""

EXTRACTION = ("--from-start", "--json")
"""Options of the extractor: what an interrupted demo has published is not this demo's."""


class Stack(Protocol):
    """Servers and services that run together, on this machine."""

    @property
    def name(self) -> str:
        """Return `native` or `compose`."""

    def up(self) -> None:
        """Start what does not run yet. Raises: StartRefused, StackFailed."""

    def environment(self) -> Mapping[str, str]:
        """Return the variables that lead from here to both stores, passwords included."""

    def processes(self) -> dict[str, str]:
        """Return each service process's address for metrics, by a name that a restart does not change."""

    def extract(self, source: Source, *, report: IO[bytes], log: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start the extractor; its report, as JSON, and its log lines go to these files."""

    def operate(self, *arguments: str, output: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start one of the operator's commands; what it prints goes to this file, what it tells a person is shown."""

    def found_at(self, path: str) -> str:
        """Say where a person finds a file that one of the operator's commands has written."""

    def places(self) -> Sequence[tuple[str, str]]:
        """Return what there is to look at, and where."""


class NativeServices:
    """The native stack with both services."""

    name = "native"

    def __init__(self, home: Path, say: Callable[[str], None]) -> None:
        self._stack = NativeStack(home, say=say)

    def up(self) -> None:
        """Install, and start what does not run yet."""
        self._stack.up(SERVERS, SERVICES)

    def environment(self) -> Mapping[str, str]:
        """Return the stack's own, and where its services serve metrics."""
        return self._stack.environment() | self._stack.places()

    def processes(self) -> dict[str, str]:
        """Return the services; there is one process of each."""
        return {name: metrics_url(self._stack.member(name).place) for name in SERVICES}

    def extract(self, source: Source, *, report: IO[bytes], log: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start the extractor as a process like the services."""
        folder = ("--dumps", str(source.folder)) if source.folder else ()
        return subprocess.Popen(  # noqa: S603  (the argument list is ours)
            [sys.executable, "-m", "extractor", *folder, *source.arguments, *EXTRACTION],
            stdin=subprocess.DEVNULL,
            stdout=report,
            stderr=log,
            env={**clean_environment(), **self.environment(), **LOGGING},
        )

    def operate(self, *arguments: str, output: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start it as a process."""
        return subprocess.Popen(  # noqa: S603  (the argument list is ours)
            [sys.executable, "-m", "spindle", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            env={**clean_environment(), **self.environment()},
        )

    def found_at(self, path: str) -> str:
        """Return the path: it is this machine's."""
        return path

    def places(self) -> Sequence[tuple[str, str]]:
        """Return addresses, logs, and how to get the passwords."""
        variables = self.environment()
        servers = {name: f"{variables[f'{name}_HOST']}:{variables[f'{name}_PORT']}" for name in ("POSTGRES", "NEO4J")}
        users = {name: f"(user {variables[f'{name}_USERNAME']})" for name in ("RABBITMQ", "POSTGRES", "NEO4J")}
        program = "python -m devstack"
        ours = self._stack.home == default_home("default")
        where = "" if ours else f" --home {self._stack.home}"
        return [
            *((f"{name} metrics", f"{url}/metrics") for name, url in self.processes().items()),
            ("RabbitMQ", f"{variables['RABBITMQ_MANAGEMENT_URL']} {users['RABBITMQ']}"),
            ("PostgreSQL", f"{servers['POSTGRES']}, database {variables['POSTGRES_DATABASE']} {users['POSTGRES']}"),
            ("Neo4j", f"bolt://{servers['NEO4J']} {users['NEO4J']}"),
            ("logs", str(self._stack.home / "logs")),
            ("passwords", f"{program} env{where}"),
            ("stop", "make down" if ours else f"{program} down{where}"),
        ]
