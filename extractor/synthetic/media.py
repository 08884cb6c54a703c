"""What a synthetic release carries in XML-like shape: tracks, identifiers, videos, companies, series."""

from typing import Any

from extractor.message import Record
from extractor.synthetic.quantiles import counts, weighted
from extractor.synthetic.releases import credit, track_artist
from extractor.synthetic.sampling import Dice, Space, label_name
from extractor.synthetic.texts import POOLS
from extractor.synthetic.vocabulary import COMPANY_ROLES, IDENTIFIER_NOTES, IDENTIFIERS

TRACKS = counts(share=1.0, mean=9.18, percentiles=(8, 16, 20, 46, 267))
TRACK_ARTISTS = counts(share=0.10, mean=1.71, percentiles=(0, 2, 14, 24, 129))
# Measured 5.00; the huge ones add the rest.
TRACK_CREDITS = counts(share=0.36, mean=4.90, percentiles=(0, 13, 24, 68, 402))
IDENTIFIER_COUNTS = counts(share=0.53, mean=1.67, percentiles=(1, 5, 6, 11, 50))
VIDEOS = counts(share=0.53, mean=2.32, percentiles=(1, 6, 11, 19, 34))
COMPANIES = counts(share=0.45, mean=1.68, percentiles=(0, 5, 7, 12, 37))

HUGE_TRACKS, HUGE_CREDITS = 571, 2492
"""The largest release known: 315 KB of XML."""

_IDENTIFIERS = weighted(IDENTIFIERS)
_IDENTIFIER_NOTES = weighted(IDENTIFIER_NOTES)
_COMPANY_ROLES = weighted({(str(1 + rank), name): weight for rank, (name, weight) in enumerate(COMPANY_ROLES.items())})


def add_media(record: Record, dice: Dice, space: Space, *, huge: bool) -> None:
    """Give a release its tracks and the rest."""
    record["tracklist"] = {"track": _tracks(dice, space, huge=huge)}
    if count := dice.linked(IDENTIFIER_COUNTS):
        record["identifiers"] = {"identifier": [_identifier(dice) for _ in range(count)]}
    if count := dice.linked(VIDEOS):
        record["videos"] = videos(dice, count)
    if count := dice.linked(COMPANIES):
        record["companies"] = {"company": [_company(dice, space) for _ in range(count)]}
    if dice.draw() < 0.05:
        found = space.labels.pick(dice.draw())
        number = str(1 + int(dice.draw() * 40))
        record["series"] = {"series": [{"@name": label_name(found), "@catno": number, "@id": str(found)}]}


def videos(dice: Dice, count: int) -> dict[str, Any]:
    """`{video: […]}`, for masters too; a tenth has no description."""
    draw, codes = dice.draw, POOLS.codes
    titles, descriptions = POOLS.video_titles, POOLS.descriptions
    listed = []
    for _ in range(count):
        address = f"https://www.youtube.com/watch?v={dice.pick(codes)}{dice.pick(codes)[:5]}"
        video = {
            "@src": address,
            "@duration": str(60 + int(draw() * 540)),
            "@embed": "true" if draw() < 0.97 else "false",
        }
        video["title"] = dice.pick(titles)
        if draw() < 0.9:
            video["description"] = dice.pick(descriptions)
        listed.append(video)
    return {"video": listed}


def _tracks(dice: Dice, space: Space, *, huge: bool) -> list[dict[str, Any]]:
    draw = dice.draw
    count = HUGE_TRACKS if huge else dice.linked(TRACKS)
    titles = POOLS.track_titles
    timed = draw()
    tracks: list[dict[str, Any]] = []
    for position in _positions(dice, count):
        track: dict[str, Any] = {"position": position} if position else {}
        track["title"] = titles[int(draw() * len(titles))]
        if timed < 0.46 or (timed < 0.56 and draw() < 0.5):
            track["duration"] = f"{int(2 + draw() * 6)}:{int(draw() * 60):02}"
        tracks.append(track)
    for index in range(dice.linked(TRACK_ARTISTS)):
        held = tracks[index % count].setdefault("artists", {"artist": []})
        held["artist"].append(track_artist(dice, space))
    for index in range(HUGE_CREDITS if huge else dice.linked(TRACK_CREDITS)):
        held = tracks[index % count].setdefault("extraartists", {"artist": []})
        held["artist"].append(credit(dice, space, tracks=0.0))
    if draw() < 0.02:
        parts = [
            {"position": f"{letter}.", "title": dice.pick(titles)} for letter in "abcdefghi"[: 2 + int(draw() * 8)]
        ]
        tracks[0]["sub_tracks"] = {"track": parts}
    return tracks


def _positions(dice: Dice, count: int) -> list[str]:
    """`9` and `A9` 40% each, `9-9` 7%: the many discs mostly, and nothing for a few."""
    draw = dice.draw
    form = draw()
    if count > 24 and form < 0.32:
        return [f"{1 + index // 20}-{1 + index % 20}" for index in range(count)]
    if form < 0.48:
        return [str(1 + index) for index in range(count)]
    if form < 0.9:
        half = max(1, (count + 1) // 2)
        return [f"{'ABCDEFGH'[index // half % 8]}{1 + index % half}" for index in range(count)]
    return ["" if form < 0.95 else "ABCDEFGH"[index % 8] for index in range(count)]


def _identifier(dice: Dice) -> dict[str, str]:
    draw = dice.draw
    shaped = {"@type": dice.pick(_IDENTIFIERS)}
    if (note := dice.pick(_IDENTIFIER_NOTES)) is not None:
        shaped["@description"] = note
    text = dice.pick(POOLS.track_titles)
    shaped["@value"] = f"{int(draw() * 10**12):012}" if shaped["@type"] == "Barcode" else text.upper()
    return shaped


def _company(dice: Dice, space: Space) -> dict[str, str]:
    found = space.labels.pick(dice.draw())
    number, role = dice.pick(_COMPANY_ROLES)
    shaped = {"id": str(found)} if dice.draw() < 0.98 else {}
    shaped |= {"name": label_name(found), "entity_type": number, "entity_type_name": role}
    if dice.draw() < 0.06:
        shaped["catno"] = str(int(dice.draw() * 99999))
    return shaped | {"resource_url": f"https://api.discogs.com/labels/{found}"}
