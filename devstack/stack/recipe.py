"""What the stack must know of a server or service to run it."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.errors import SpindleError
from devstack.stack.launching import Command


class StackFailed(SpindleError):
    """A server or service did not start or stop; the text holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member lives: its folder, the folder of the logs, its ports by purpose and its password."""

    folder: Path
    logs: Path
    ports: Mapping[str, int]
    password: str

    @property
    def mark_of_use(self) -> Path:
        """Return the file that exists once the member has answered: only then is its data worth keeping."""
        return self.folder / "used"

    def log(self, name: str) -> Path:
        """Return the log of one of the member's processes."""
        return self.logs / f"{name}.log"


class Recipe(Protocol):
    """One kind of server or service. Pure but for `prepare` and `is_ready`."""

    @property
    def name(self) -> str:
        """Return the member's name, which is also its folder's."""

    @property
    def ports(self) -> Sequence[str]:
        """Return the purposes for which it needs ports, the main one first."""

    @property
    def patience(self) -> float:
        """Return for how long a start may last, in seconds."""

    @property
    def supervised(self) -> bool:
        """Return whether its process is one that starts it again when it fails."""

    @property
    def stop_signal(self) -> signal.Signals:
        """Return what asks it for a quick clean end."""

    def prepare(self, place: Place) -> None:
        """Write configuration and, the first time, create the data. Raises: StackFailed."""

    def commands(self, place: Place) -> Sequence[Command]:
        """Return its processes in the order of their start; the last one, named like the recipe, is it."""

    def is_ready(self, place: Place) -> bool:
        """Tell whether it answers in its own protocol."""
