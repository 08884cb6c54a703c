"""Tell a letter that is met for the first time from a copy of one that was met before. Pure.

A pass copies letters to the end of the queue that it goes through. In a queue that is not strictly first in, first out
it meets its own copies, and nothing on a letter says which of two it is. So a letter that may be a copy of our own is
never judged twice and never dropped. Two are proved to be twins only if both are held at the same time, unacknowledged
on one channel: then the queue has both, and one of them may go.
"""

import hashlib
from collections import Counter
from enum import Enum, auto

from common.rabbitmq.ops.queue_reader import StoredLetter
from common.rabbitmq.publishing.letter import PREFIX, publishable

_DIGEST = 16  # bytes: a hundred thousand letters are remembered


class Sighting(Enum):
    """What a letter is that has just been taken."""

    FIRST = auto()
    """Nobody has judged it."""
    AGAIN = auto()
    """It was judged: our own copy, or as good as that."""
    TWIN = auto()
    """Another, the same to the last header, is held at this moment."""


class Sightings:
    """What one pass has met in one queue."""

    def __init__(self) -> None:
        self._copies: Counter[bytes] = Counter()
        self._held: dict[bytes, bytes] = {}

    def copied(self, letter: StoredLetter) -> None:
        """Remember that a copy of a judged letter goes to the end of the queue."""
        self._copies[_mark(letter)] += 1

    def held(self, letter: StoredLetter) -> None:
        """Remember that a letter stays unacknowledged until the end of the pass."""
        if _number(letter):
            self._held.setdefault(_mark(letter), _content(letter))

    def may_be_a_copy(self, letter: StoredLetter) -> bool:
        """Whether a copy of ours looks like this, and has not been met yet."""
        return self._copies[_mark(letter)] > 0 if self._copies else False

    def meet(self, letter: StoredLetter) -> Sighting:
        """Say what a letter is, while all that are to stay are held."""
        mark = _mark(letter)
        # Only ours have a number. Two messages of somebody else's may be equal, and both meant.
        is_twin = bool(_number(letter)) and self._held.get(mark) == _content(letter)
        was_copied = self._copies[mark] > 0
        if was_copied:
            self._copies[mark] -= 1
        if is_twin:
            return Sighting.TWIN
        return Sighting.AGAIN if was_copied else Sighting.FIRST


def deliveries_of(letter: StoredLetter) -> int:
    """How often the broker has taken this letter back."""
    count = letter.properties.headers.get("x-delivery-count")
    return count if isinstance(count, int) else 0


def _number(letter: StoredLetter) -> bytes:
    number = letter.properties.headers.get(f"{PREFIX}letter")
    return number if isinstance(number, bytes) else str(number or "").encode()


def _mark(letter: StoredLetter) -> bytes:
    """What a letter is recognised by, and its copy: the number and the body; all of it, if it has no number."""
    number = _number(letter)
    return _digest(number, letter.body) if number else _content(letter)


def _content(letter: StoredLetter) -> bytes:
    """All that a copy has too."""
    properties = publishable(letter.properties)
    headers = sorted(properties.headers.items())
    others = [getattr(properties, name) for name in properties.__slots__ if name not in ("headers", "delivery_mode")]
    return _digest(repr((headers, others)).encode("utf-8", "replace"), letter.body)


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
