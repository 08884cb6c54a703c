"""Which dead letters a command is about."""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from common.kinds import KINDS, Service
from spindle.dead_letters.letter import REASONS, Letter

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Choice:
    """What a letter must be; empty means anything. Ages are seconds since it was set aside."""

    services: tuple[Service, ...] = tuple(Service)
    kinds: tuple[str, ...] = KINDS
    reasons: tuple[str, ...] = ()
    error_classes: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    older_than: float | None = None
    newer_than: float | None = None
    replayed: bool | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether anything was asked for."""
        return self != Choice()

    def takes(self, letter: Letter, now: datetime) -> bool:
        """Whether a letter of a chosen queue is meant. One without a time is of no age."""
        wanted = (
            (self.reasons, letter.reason),
            (self.error_classes, letter.error_class),
            (self.codes, letter.code),
            (self.ids, letter.id),
        )
        if any(allowed and value not in allowed for allowed, value in wanted):
            return False
        if self.replayed is not None and self.replayed != (letter.replays > 0):
            return False
        return self._is_of_age(letter.age(now))

    def _is_of_age(self, age: float | None) -> bool:
        if self.older_than is None and self.newer_than is None:
            return True
        if age is None:
            return False
        return (self.older_than is None or age >= self.older_than) and (
            self.newer_than is None or age <= self.newer_than
        )


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Let a command take filters; each may be given several times, and all must hold."""
    group = parser.add_argument_group("which letters (if nothing is said all of them; replay and drop want --all)")
    group.add_argument("--service", action="append", choices=[str(each) for each in Service])
    group.add_argument("--kind", action="append", choices=KINDS)
    group.add_argument("--reason", action="append", choices=REASONS, metavar="REASON", help=", ".join(REASONS))
    group.add_argument(
        "--error-class", action="append", metavar="CLASS", help="the whole name, as `show` and --json give it"
    )
    group.add_argument("--code", action="append", metavar="CODE", help="SQLSTATE or Neo4j code")
    group.add_argument("--id", action="append", metavar="ID", help="of the record")
    group.add_argument("--older-than", type=duration, metavar="AGE", help="set aside so long ago: 90s, 30m, 2h, 3d, 1w")
    group.add_argument("--newer-than", type=duration, metavar="AGE", help="set aside since then")
    replayed = group.add_mutually_exclusive_group()
    replayed.add_argument("--replayed", action="store_const", const=True, help="that failed again after a replay")
    replayed.add_argument("--not-replayed", dest="replayed", action="store_const", const=False)


def choice_of(arguments: argparse.Namespace) -> Choice:
    """What the arguments ask for."""
    return Choice(
        services=tuple(Service(each) for each in arguments.service) if arguments.service else tuple(Service),
        kinds=tuple(arguments.kind or KINDS),
        reasons=tuple(arguments.reason or ()),
        error_classes=tuple(arguments.error_class or ()),
        codes=tuple(arguments.code or ()),
        ids=tuple(arguments.id or ()),
        older_than=arguments.older_than,
        newer_than=arguments.newer_than,
        replayed=arguments.replayed,
    )


def duration(text: str) -> float:
    """Read `90s`, `30m`, `2h`, `3d` or `1w` as seconds.

    Raises: argparse.ArgumentTypeError.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an age; allowed are 90s, 30m, 2h, 3d, 1w")
    return float(match[1]) * _UNITS[match[2]]


def at_least(least: float, what: str) -> Callable[[str], float]:
    """Read a number that is not below `least`."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {least:g} up")
        return value

    return number
