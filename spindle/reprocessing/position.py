"""How far a reprocessing has come: a small file, so that an interrupted one goes on."""

import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Position:
    """The last id of which the broker has everything, and how many records that was."""

    after: str = ""
    published: int = 0


class PositionFile:
    """Where a position is kept; without a folder nowhere. `target`: what must be the same to go on."""

    def __init__(self, folder: Path | None, name: str, target: str) -> None:
        self._path = folder / f"{name}.position" if folder else None
        self._target = target

    def read(self) -> Position:
        """Where to go on; the beginning if there is nothing, or something else was going on."""
        if self._path is None:
            return Position()
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            if found["target"] != self._target:
                return Position()
            return Position(str(found["after"]), int(found["published"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Position()

    def write(self, position: Position) -> None:
        """Replace it in one step. Raises: OSError."""
        if self._path is None:
            return
        content = {"target": self._target, "after": position.after, "published": position.published}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f"{self._path.name}.draft")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def remove(self) -> None:
        """The end was reached."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
