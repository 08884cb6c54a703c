"""Synthetic artists, labels and masters, with the measured shares and means.

Where only share and mean were measured for the whole, the percentiles are those of a sample of 500.
"""

from typing import Any

from extractor.message import Record
from extractor.synthetic.media import videos
from extractor.synthetic.quantiles import counts, weighted
from extractor.synthetic.releases import track_artist
from extractor.synthetic.sampling import Dice, References, Space, artist_name, label_name
from extractor.synthetic.texts import POOLS
from extractor.synthetic.vocabulary import GENRES, JOINS, NAME_QUALITIES

NAME_LINK = 0.75
"""How much of an artist or label goes together: most have nothing, a few have everything."""

MASTER_LINK = 0.3

NAME_VARIATIONS = counts(share=0.26, mean=0.89, percentiles=(0, 2, 5, 14, 56))
ALIASES = counts(share=0.115, mean=0.55, percentiles=(0, 1, 3, 12, 71))
MEMBERS = counts(share=0.079, mean=0.22, percentiles=(0, 0, 2, 5, 12))
GROUPS = counts(share=0.119, mean=0.31, percentiles=(0, 1, 2, 7, 30))
ARTIST_URLS = counts(share=0.145, mean=0.46, percentiles=(0, 1, 3, 9, 25))
LABEL_URLS = counts(share=0.149, mean=0.44, percentiles=(0, 1, 3, 8, 20))
SUBLABELS = counts(share=0.067, mean=0.23, percentiles=(0, 0, 1, 5, 40))
MASTER_ARTISTS = counts(share=1.0, mean=1.17, percentiles=(1, 2, 2, 4, 7))
MASTER_GENRES = counts(share=1.0, mean=1.31, percentiles=(1, 2, 2, 4, 5))
MASTER_STYLES = counts(share=0.9, mean=1.71, percentiles=(1, 3, 4, 7, 20))
MASTER_VIDEOS = counts(share=0.57, mean=2.18, percentiles=(1, 6, 9, 19, 37))

_QUALITIES = weighted(NAME_QUALITIES)
_GENRES = weighted(GENRES)
_JOINS = weighted(JOINS)
_SITES = [
    "facebook.com",
    "myspace.com",
    "soundcloud.com",
    "twitter.com",
    "youtube.com/user",
    "instagram.com",
    "bandcamp.com",
]


def artist(dice: Dice, space: Space, number: int) -> Record:
    """The artist with this number as id; groups and members are drawn each for itself and do not mirror each other."""
    record: Record = {"id": str(number), "name": artist_name(number), "data_quality": dice.pick(_QUALITIES)}
    if dice.linked_chance(0.13):
        record["realname"] = f"{dice.pick(POOLS.artist_names)} {dice.pick(POOLS.artist_names)}"[:40].rstrip()
    if dice.linked_chance(0.21):
        record["profile"] = dice.pick(POOLS.profiles)
    if count := dice.linked(ARTIST_URLS):
        record["urls"] = _urls(dice, count)
    if count := dice.linked(NAME_VARIATIONS):
        record["namevariations"] = {"name": [dice.pick(POOLS.artist_names) for _ in range(count)]}
    for field, table in (("aliases", ALIASES), ("members", MEMBERS), ("groups", GROUPS)):
        if count := dice.linked(table):
            record[field] = _artists(dice, space.artists, count)
    return record


def label(dice: Dice, space: Space, number: int) -> Record:
    """The label with this number as id."""
    record: Record = {"id": str(number), "name": label_name(number), "data_quality": dice.pick(_QUALITIES)}
    if dice.linked_chance(0.13):
        record["contactinfo"] = dice.pick(POOLS.contacts)
    if dice.linked_chance(0.24):
        record["profile"] = dice.pick(POOLS.label_profiles)
    if dice.linked_chance(0.083):
        found = space.labels.pick(dice.draw())
        record["parentLabel"] = {"id": str(found), "name": label_name(found)}
    if count := dice.linked(LABEL_URLS):
        record["urls"] = _urls(dice, count)
    if count := dice.linked(SUBLABELS):
        numbers = [space.labels.pick(dice.draw()) for _ in range(count)]
        record["sublabels"] = [{"id": str(found), "name": label_name(found)} for found in numbers]
    return record


def master(dice: Dice, space: Space, number: int) -> Record:
    """The master with this number as id; the year is unknown, "0", for 3%."""
    draw = dice.draw
    artists = [track_artist(dice, space) for _ in range(dice.pick(MASTER_ARTISTS))]
    for shaped in artists[:-1]:
        shaped["join"] = dice.pick(_JOINS)
    record: Record = {
        "id": str(number),
        "main_release": str(space.releases.pick(draw())),
        "title": dice.pick(POOLS.release_titles),
        "year": "0" if draw() < 0.03 else str(2025 - int(draw() * draw() * 70)),
        "data_quality": "Correct" if draw() < 0.97 else "Needs Vote",
        "artists": artists,
        "genres": dice.pick_some(_GENRES, dice.pick(MASTER_GENRES)),
    }
    if count := dice.pick(MASTER_STYLES):
        record["styles"] = dice.pick_some(POOLS.styles, count)
    if draw() < 0.05:
        record["notes"] = dice.pick(POOLS.notes)
    if count := dice.linked(MASTER_VIDEOS):
        record["videos"] = videos(dice, count)
    return record


def _artists(dice: Dice, references: References, count: int) -> list[dict[str, Any]]:
    numbers = [references.pick(dice.draw()) for _ in range(count)]
    return [{"id": str(found), "name": artist_name(found)} for found in numbers]


def _urls(dice: Dice, count: int) -> dict[str, list[str]]:
    return {
        "url": [
            f"https://www.{dice.pick(_SITES)}/{dice.pick(POOLS.codes)}{dice.pick(POOLS.codes)}" for _ in range(count)
        ]
    }
