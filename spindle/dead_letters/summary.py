"""Dead letters by what they have in common: how many, since when, one as a sample. Never a body."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spindle.dead_letters.letter import Letter


@dataclass(slots=True)
class Group:
    """Letters of one service, kind, reason, error class and code."""

    sample: Letter
    count: int = 0
    replayed: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None

    def add(self, letter: Letter) -> None:
        """Count one."""
        self.count += 1
        self.replayed += letter.replays > 0
        if letter.time is not None:
            self.oldest = min(self.oldest or letter.time, letter.time)
            self.newest = max(self.newest or letter.time, letter.time)

    def as_data(self) -> dict[str, Any]:
        """For a program."""
        sample = self.sample
        return {
            "service": sample.service,
            "kind": sample.kind,
            "reason": sample.reason,
            "error_class": sample.error_class,
            "code": sample.code,
            "letters": self.count,
            "failed_again": self.replayed,
            "oldest": self.oldest.isoformat() if self.oldest else None,
            "newest": self.newest.isoformat() if self.newest else None,
            "sample": {"id": sample.id, "text": sample.text},
        }


class Summary:
    """All groups, as they are met."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, ...], Group] = {}

    def add(self, letter: Letter) -> None:
        """Count one."""
        key = (letter.service, letter.kind, letter.reason, letter.error_class, letter.code)
        self._groups.setdefault(key, Group(letter)).add(letter)

    @property
    def groups(self) -> list[Group]:
        """By service and kind, the largest first."""
        return [group for _, group in sorted(self._groups.items(), key=lambda each: (*each[0][:2], -each[1].count))]

    @property
    def count(self) -> int:
        """How many letters."""
        return sum(group.count for group in self._groups.values())

    @property
    def replayed(self) -> int:
        """How many of them have failed again after a replay."""
        return sum(group.replayed for group in self._groups.values())
