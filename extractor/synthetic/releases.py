"""Synthetic releases, with the distribution of a stratified sample of a whole dump.

The percentiles are those of real records of the modern form; how they were measured, and the share of what was not
measured, is said beside each number that is made up.
"""

from typing import Any

from extractor.message import Record
from extractor.synthetic.quantiles import counts, weighted
from extractor.synthetic.sampling import NOT_ON_LABEL, VARIOUS, Dice, Space, artist_name, label_name
from extractor.synthetic.texts import POOLS
from extractor.synthetic.vocabulary import COUNTRIES, DESCRIPTIONS, FORMATS, GENRES, JOINS, QUALITIES

LINK = 0.45
"""How much the counts of one release move together: fitted so that message sizes have the measured p10 and p99."""

ARTISTS = counts(share=1.0, mean=1.24, percentiles=(1, 2, 3, 5, 10))
CREDITS = counts(share=0.59, mean=3.81, percentiles=(1, 11, 17, 30, 56))
LABELS = counts(share=1.0, mean=1.14, percentiles=(1, 2, 2, 3, 6))
FORMAT_COUNTS = counts(share=1.0, mean=1.04, percentiles=(1, 1, 1, 3, 10))
FORMAT_DESCRIPTIONS = counts(share=0.97, mean=2.02, percentiles=(2, 3, 4, 6, 12))
GENRE_COUNTS = counts(share=1.0, mean=1.30, percentiles=(1, 2, 3, 4, 7))
STYLE_COUNTS = counts(share=0.85, mean=1.50, percentiles=(1, 3, 3, 5, 10))
MASTER_SHARE = 0.615

_COUNTRIES = weighted(COUNTRIES)
_QUALITIES = weighted(QUALITIES)
_FORMATS = weighted(FORMATS)
_DESCRIPTIONS = weighted(DESCRIPTIONS)
_GENRES = weighted(GENRES)
_JOINS = weighted(JOINS)


def release(dice: Dice, space: Space, number: int) -> Record:
    """The release with this number as id."""
    draw = dice.draw
    record: Record = {
        "id": str(number),
        "status": "Accepted",
        "title": dice.pick(POOLS.release_titles),
        "data_quality": dice.pick(_QUALITIES),
        "artists": _artists(dice, space),
        "labels": _labels(dice, space),
        "formats": _formats(dice),
        "genres": dice.pick_some(_GENRES, dice.pick(GENRE_COUNTS)),
        # Without a master the modern dumps say "0", not nothing.
        "master_id": str(space.masters.pick(draw())) if draw() < MASTER_SHARE else "0",
    }
    if count := dice.pick(STYLE_COUNTS):
        record["styles"] = dice.pick_some(POOLS.styles, count)
    if country := dice.pick(_COUNTRIES):
        record["country"] = country
    if released := _released(dice):
        record["released"] = released
    if dice.linked_chance(0.64):
        record["notes"] = dice.pick(POOLS.notes)
    if count := dice.linked(CREDITS):
        record["extraartists"] = [credit(dice, space, tracks=0.21) for _ in range(count)]
    return record


def credit(dice: Dice, space: Space, *, tracks: float) -> dict[str, Any]:
    """An artist with a role; 2% have no id, as real credits of someone Discogs has no page for, 0.3% the old id 0."""
    draw = dice.draw
    found = space.artists.pick(draw())
    shaped: dict[str, Any] = {"id": str(found), "name": artist_name(found)}
    luck = draw()
    if luck < 0.023:
        shaped = {"name": shaped["name"]} if luck < 0.02 else shaped | {"id": "0"}
    if draw() < 0.25:
        shaped["anv"] = artist_name(int(draw() * 1_000_000))
    shaped["role"] = dice.pick(POOLS.roles)
    if draw() < tracks:
        shaped["tracks"] = f"{1 + int(draw() * 6)} to {7 + int(draw() * 9)}"
    return shaped


def track_artist(dice: Dice, space: Space) -> dict[str, Any]:
    """An artist of a track or a release."""
    draw = dice.draw
    found = space.artists.pick(draw())
    shaped = {"id": str(found), "name": artist_name(found)}
    if draw() < 0.1:
        shaped["anv"] = artist_name(int(draw() * 1_000_000))
    return shaped


def _artists(dice: Dice, space: Space) -> list[dict[str, Any]]:
    artists = [track_artist(dice, space) for _ in range(dice.pick(ARTISTS))]
    if len(artists) == 1:
        if dice.draw() < 0.085:  # of the nine tenths with one artist: 7% of releases
            artists[0] = {"id": str(VARIOUS), "name": "Various"}
        return artists
    if dice.draw() < 0.03:
        artists[1] = dict(artists[0])
    for shaped in artists[:-1]:
        shaped["join"] = dice.pick(_JOINS)
    return artists


def _labels(dice: Dice, space: Space) -> list[dict[str, str]]:
    """Several of them are at times the same label with another catalogue number: two edges of the graph."""
    draw = dice.draw
    labels: list[dict[str, str]] = []
    for _ in range(dice.pick(LABELS)):
        found = NOT_ON_LABEL if draw() < 0.04 else space.labels.pick(draw())
        if labels and draw() < 0.15:
            found = int(labels[0]["id"])
        none = found == NOT_ON_LABEL or draw() < 0.05
        labels.append({"name": label_name(found), "catno": "none" if none else _catno(dice), "id": str(found)})
    return labels


def _catno(dice: Dice) -> str:
    draw = dice.draw
    prefix = dice.pick(POOLS.track_titles)[:4].upper().strip()
    return f"{prefix}{' ' if draw() < 0.6 else '-'}{int(draw() * draw() * 99999)}"


def _formats(dice: Dice) -> list[dict[str, Any]]:
    draw = dice.draw
    formats: list[dict[str, Any]] = []
    for _ in range(dice.pick(FORMAT_COUNTS)):
        shaped: dict[str, Any] = {"name": dice.pick(_FORMATS), "qty": "1" if draw() < 0.9 else str(2 + int(draw() * 3))}
        shaped["text"] = "" if draw() < 0.93 else dice.pick(POOLS.track_titles)
        if count := dice.pick(FORMAT_DESCRIPTIONS):
            shaped["descriptions"] = {"description": dice.pick_some(_DESCRIPTIONS, count)}
        formats.append(shaped)
    return formats


def _released(dice: Dice) -> str | None:
    """A year 57%, a day 31% (a quarter of these with day 00), nothing 12%; one in 300 is nonsense, as in life."""
    draw = dice.draw
    form = draw()
    if form < 0.12:
        return None
    if form < 0.123:
        return dice.pick(["0000", "1999-13-45", "19??", "1984-02-30", "0", "2099", "1975-00-00"])
    year = 2025 - int(draw() * draw() * 70)
    if form < 0.693:
        return str(year)
    day = 0 if draw() < 0.24 else 1 + int(draw() * 28)
    return f"{year}-{1 + int(draw() * 12):02}-{day:02}"
