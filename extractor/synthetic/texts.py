"""Pools of texts for synthetic records, with measured lengths and shares of non-ASCII.

A text is drawn from a pool that was written once, because writing each again would cost more than everything else a
record is made of. The pools do not depend on the load's seed. Only `Random.random()` is used anywhere in the generator:
its sequence is the one thing about the module that Python promises never to change.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from random import Random

from extractor.synthetic.quantiles import lengths, weighted
from extractor.synthetic.vocabulary import ACCENTED, OTHER_SCRIPTS, ROLE_DETAILS, ROLES, STYLES, WORDS

Draw = Callable[[], float]
"""Even numbers from 0 to 1."""

Anchors = tuple[tuple[float, int], ...]
"""Share of texts and their length in characters; 0.5 is the measured p50, 0.95 the measured p95."""

_POOL = 4096
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_DISTINCT_ROLES = 1224

RELEASE_TITLES = ((0.0, 2), (0.1, 8), (0.25, 11), (0.5, 17), (0.75, 25), (0.95, 47), (1.0, 99))
TRACK_TITLES = ((0.0, 2), (0.1, 7), (0.25, 10), (0.5, 15), (0.75, 22), (0.95, 39), (1.0, 179))
NAMES = ((0.0, 2), (0.1, 8), (0.5, 13), (0.75, 16), (0.95, 24), (1.0, 60))
LABEL_NAMES = ((0.0, 2), (0.1, 9), (0.5, 17), (0.75, 22), (0.95, 39), (1.0, 83))
NOTES = ((0.0, 8), (0.1, 20), (0.25, 40), (0.5, 91), (0.75, 210), (0.95, 527), (1.0, 4509))
PROFILES = ((0.0, 10), (0.1, 20), (0.5, 63), (0.75, 250), (0.95, 1620), (1.0, 2806))
LABEL_PROFILES = ((0.0, 10), (0.1, 22), (0.5, 90), (0.75, 220), (0.95, 1000), (1.0, 1901))
CONTACTS = ((0.0, 12), (0.25, 40), (0.5, 90), (0.95, 260), (1.0, 436))
DESCRIPTIONS = ((0.0, 2), (0.1, 20), (0.25, 80), (0.5, 206), (0.75, 255), (0.95, 255), (1.0, 255))
VIDEO_TITLES = ((0.0, 6), (0.1, 16), (0.5, 36), (0.95, 67), (1.0, 99))


def texts(anchors: Anchors, non_ascii: float, name: str, size: int = _POOL) -> list[str]:
    """A pool of texts of these lengths; a share of them, whatever their length, is not all ASCII."""
    draw = Random(f"texts:{name}").random  # noqa: S311 (made-up data, no secret)
    table = lengths(*anchors, size=size)
    # Steps through the table in an order without pattern that meets every entry once: 1,201 shares no factor with the
    # sizes used.
    return [_text(draw, table[i * 1201 % size], (i * 0.6180339887 % 1) < non_ascii) for i in range(size)]


class Pools:
    """Every pool, each written when it is first drawn from."""

    @cached_property
    def release_titles(self) -> list[str]:
        """Titles of releases and masters."""
        return texts(RELEASE_TITLES, 0.095, "release titles")

    @cached_property
    def track_titles(self) -> list[str]:
        """Titles of tracks; beginnings of catalogue numbers."""
        return texts(TRACK_TITLES, 0.097, "track titles")

    @cached_property
    def artist_names(self) -> list[str]:
        """Names and name variations."""
        return texts(NAMES, 0.115, "artist names")

    @cached_property
    def label_names(self) -> list[str]:
        """Names of labels and companies."""
        return texts(LABEL_NAMES, 0.08, "label names")

    @cached_property
    def notes(self) -> list[str]:
        """Notes of releases and masters."""
        return texts(NOTES, 0.28, "notes", 2048)

    @cached_property
    def profiles(self) -> list[str]:
        """Profiles of artists."""
        return texts(PROFILES, 0.12, "profiles", 1024)

    @cached_property
    def label_profiles(self) -> list[str]:
        """Profiles of labels."""
        return texts(LABEL_PROFILES, 0.08, "label profiles", 1024)

    @cached_property
    def contacts(self) -> list[str]:
        """What labels say of how to reach them, with made-up addresses."""
        return [f"{text}\r\ninfo@label.example" for text in texts(CONTACTS, 0.05, "contacts", 1024)]

    @cached_property
    def video_titles(self) -> list[str]:
        """Titles of videos."""
        return texts(VIDEO_TITLES, 0.12, "video titles")

    @cached_property
    def descriptions(self) -> list[str]:
        """Descriptions of videos."""
        return texts(DESCRIPTIONS, 0.2, "descriptions", 2048)

    @cached_property
    def codes(self) -> list[str]:
        """Halves of video addresses; two of them make the eleven characters of one."""
        draw = Random("codes").random  # noqa: S311 (made-up data, no secret)
        return ["".join(_LETTERS[int(draw() * 64)] for _ in range(6)) for _ in range(_POOL)]

    @cached_property
    def roles(self) -> list[str]:
        """Roles as often as they occur: Written-By 23%, and 1,224 different ones in all."""
        distinct = dict.fromkeys(ROLES) | {f"{role} [{detail}]": None for detail in ROLE_DETAILS for role in ROLES}
        first, *others = list(distinct)[:_DISTINCT_ROLES]
        weights = {role: 1 / (rank + 8) for rank, role in enumerate(others)}
        return weighted({first: 23 / 77 * sum(weights.values())} | weights, size=40_000)

    @cached_property
    def styles(self) -> list[str]:
        """Styles: a few common ones and a long tail."""
        order = sorted(STYLES, key=lambda style: Random(f"style:{style}").random())  # noqa: S311 (as above)
        return weighted({style: 1 / (rank + 10) for rank, style in enumerate(order)}, size=20_000)


POOLS = Pools()


def _text(draw: Draw, length: int, non_ascii: bool) -> str:
    """Words up to exactly this length; it begins and ends in something other than a blank."""
    foreign = non_ascii and draw() < 0.3
    first = OTHER_SCRIPTS if foreign else ACCENTED if non_ascii else WORDS
    words = [_word(draw, first)]
    reach = len(words[0])
    while reach < length:
        words.append(_word(draw, OTHER_SCRIPTS if foreign and draw() < 0.6 else WORDS))
        reach += 1 + len(words[-1])
    text = " ".join(words)[:length]
    return text[0].upper() + (text[1:] if not text.endswith(" ") else text[1:-1] + "s")


def _word(draw: Draw, words: Sequence[str]) -> str:
    return words[int(draw() * len(words))]
