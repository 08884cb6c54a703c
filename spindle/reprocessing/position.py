"""How far a reprocessing has come: a small file, so that an interrupted one goes on."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from common.errors import SpindleError

FRESH = 3600.0
"""Seconds for which an interrupted run is gone on with unasked: later the store may have been emptied meanwhile."""


@dataclass(frozen=True, slots=True)
class Position:
    """The last id of which the broker has everything, and how many records that was."""

    after: str = ""
    published: int = 0
    passed_over: int = 0
    """Records without a load."""
    unreadable: int = 0
    """Records that PostgreSQL can't give."""


class PositionFile:
    """Where a position is kept; without a folder nowhere. `target`: what must be the same to go on."""

    def __init__(self, folder: Path | None, name: str, target: str) -> None:
        self._path = folder / f"{name}.position" if folder else None
        self._target = target

    def read(self, *, at_any_age: bool) -> Position:
        """Where to go on; the beginning if there is nothing, it is old, or something else was going on."""
        if self._path is None:
            return Position()
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            age = time.time() - float(found["at"])
            if found["target"] != self._target or not (at_any_age or 0 <= age <= FRESH):
                return Position()
            published, passed_over = int(found["published"]), int(found["passed_over"])
            return Position(str(found["after"]), published, passed_over, int(found.get("unreadable", 0)))
        except (OSError, ValueError, KeyError, TypeError):
            return Position()

    def write(self, position: Position) -> None:
        """Replace it in one step.

        Raises: SpindleError.
        """
        if self._path is None:
            return
        content = {
            "target": self._target,
            "at": time.time(),
            "after": position.after,
            "published": position.published,
            "passed_over": position.passed_over,
            "unreadable": position.unreadable,
        }
        draft = self._path.with_name(f"{self._path.name}.draft")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise SpindleError(
                f"The position can't be written to {self._path} ({error.strerror}): SPINDLE_STATE has to name a folder "
                "that this program may write to."
            ) from error

    def remove(self) -> None:
        """The end was reached."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
