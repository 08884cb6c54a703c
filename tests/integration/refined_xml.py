"""The rows that a dump's refined tables should have, read from the XML by code that shares nothing with ours."""

import datetime
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree

Row = dict[str, Any]
Rows = Iterator[tuple[str, Row]]

Element = etree._Element


def rows_in_xml(path: Path, kind: str, main_releases: dict[int, int]) -> list[tuple[str, Row]]:
    """Every row of a kind's tables, with its table's name; of an id that comes twice, the last counts.

    `main_releases`: by master, of the masters that are stored.
    """
    tag, by_id = kind.removesuffix("s"), {}
    with gzip.open(path) as file:
        for _, element in etree.iterparse(file, tag=tag, recover=True, huge_tree=True):
            parent = element.getparent()
            if parent is None or parent.getparent() is not None:
                continue  # a label of a release, a sublabel
            number = int(element.get("id") or element.findtext("id") or 0)
            by_id[number] = list(_READERS[kind](element, number, main_releases))
            element.clear()
    return [row for rows in by_id.values() for row in rows]


def main_releases_in(path: Path) -> dict[int, int]:
    """Of each master its main release."""
    with gzip.open(path) as file:
        return {
            int(element.get("id")): int(element.findtext("main_release"))
            for _, element in etree.iterparse(file, tag="master", recover=True, huge_tree=True)
        }


def _artist(element: Element, number: int, _: dict[int, int]) -> Rows:
    named = {name: _said(element, name) for name in ("name", "realname", "profile", "data_quality")}
    yield "artist", {"id": number, **named}
    yield from _each("artist_url", "artist_id", number, "url", element.findall("urls/url"))
    yield from _each("artist_namevariation", "artist_id", number, "name", element.findall("namevariations/name"))
    for place, alias in enumerate(element.findall("aliases/name"), 1):
        row = {"alias_name": alias.text, "alias_artist_id": _number(alias.get("id")), "position": place}
        yield "artist_alias", {"artist_id": number, **row}
    place, before = 0, None
    for child in element.iterfind("members/*"):
        if child.tag == "id":
            before = child.text
            continue
        place += 1
        row = {"member_artist_id": _number(child.get("id") or before), "member_name": child.text, "position": place}
        yield "group_member", {"group_artist_id": number, **row}
        before = None


def _label(element: Element, number: int, _: dict[int, int]) -> Rows:
    parent = element.find("parentLabel")
    named = {name: _said(element, name) for name in ("name", "profile", "data_quality")}
    row = {"id": number, **named, "contact_info": _said(element, "contactinfo")}
    row["parent_id"] = None if parent is None else _number(parent.get("id"))
    row["parent_name"] = None if parent is None else parent.text
    yield "label", row
    yield from _each("label_url", "label_id", number, "url", element.findall("urls/url"))


def _master(element: Element, number: int, _: dict[int, int]) -> Rows:
    named = {name: _said(element, name) for name in ("title", "data_quality", "notes")}
    main = _number(element.findtext("main_release"))
    yield "master", {"id": number, **named, "year": _year(_said(element, "year")), "main_release": main}
    for place, artist in enumerate(_peopled(element.findall("artists/artist")), 1):
        credit = _credit(artist)
        del credit["tracks"]
        yield "master_artist", {"master_id": number, "position": place, **credit}
    yield from _tags("master", element, number)


def _release(element: Element, number: int, main_releases: dict[int, int]) -> Rows:
    named = {name: _said(element, name) for name in ("title", "released", "country", "notes", "data_quality")}
    master = _number(element.findtext("master_id"))
    main = int(main_releases[master] == number) if master in main_releases else None
    row: Row = {"id": number, **named, "status": element.get("status"), "master_id": master, "main": main}
    row |= {"released_year": _year(named["released"]), "released_date": _day(named["released"])}
    yield "release", row
    for extra, path in ((0, "artists/artist"), (1, "extraartists/artist")):
        for place, artist in enumerate(_peopled(element.findall(path)), 1):
            yield "release_artist", {"release_id": number, "extra": extra, "position": place, **_credit(artist)}
    for place, label in enumerate(element.findall("labels/label"), 1):
        row = {"label_id": _number(label.get("id")), "label_name": label.get("name"), "catno": label.get("catno")}
        yield "release_label", {"release_id": number, "position": place, **row}
    for place, each in enumerate(element.findall("formats/format"), 1):
        described = "; ".join(one.text for one in each.findall("descriptions/description") if one.text)
        row = {"name": each.get("name"), "qty": int(each.get("qty") or 0), "text_string": each.get("text")}
        yield "release_format", {"release_id": number, "position": place, **row, "descriptions": described}
    yield from _tracks(element, number)
    for place, each in enumerate(element.findall("identifiers/identifier"), 1):
        row = {name: each.get(name) for name in ("description", "type", "value")}
        yield "release_identifier", {"release_id": number, "position": place, **row}
    for place, each in enumerate(element.findall("companies/company"), 1):
        row = {"company_id": _number(each.findtext("id")), "company_name": _said(each, "name")}
        row |= {name: _said(each, name) for name in ("entity_type", "entity_type_name", "catno")}
        yield "release_company", {"release_id": number, "position": place, "uri": _said(each, "resource_url"), **row}
    yield from _tags("release", element, number)


def _tracks(element: Element, number: int) -> Rows:
    sequence = 0
    for track in element.findall("tracklist/track"):
        sequence += 1
        main = sequence
        yield from _track(track, number, sequence, None)
        for part in track.findall("sub_tracks/track"):
            sequence += 1
            yield from _track(part, number, sequence, main)


def _track(track: Element, number: int, sequence: int, parent: int | None) -> Rows:
    named = {name: _said(track, name) for name in ("position", "title", "duration")}
    ids = {"release_id": number, "track_id": f"{number}-{sequence}"}
    seconds = _seconds(named["duration"])
    yield "release_track", {**ids, "sequence": sequence, "parent": parent, **named, "duration_seconds": seconds}
    for extra, path in ((False, "artists/artist"), (True, "extraartists/artist")):
        for place, artist in enumerate(track.findall(path), 1):
            row = {"track_sequence": sequence, "extra": extra, "position": place, **_credit(artist)}
            yield "release_track_artist", {**ids, **row}


def _tags(noun: str, element: Element, number: int) -> Rows:
    yield from _each(f"{noun}_genre", f"{noun}_id", number, "genre", element.findall("genres/genre"))
    yield from _each(f"{noun}_style", f"{noun}_id", number, "style", element.findall("styles/style"))
    for place, video in enumerate(element.findall("videos/video"), 1):
        length = video.get("duration")
        row: Row = {"duration": int(length) if length else None, "uri": video.get("src")}
        row |= {name: _said(video, name) for name in ("title", "description")}
        yield f"{noun}_video", {f"{noun}_id": number, "position": place, **row}


def _each(table: str, parent: str, number: int, column: str, elements: list[Element]) -> Rows:
    for place, text in enumerate((each.text for each in elements if each.text), 1):
        yield table, {parent: number, column: text, "position": place}


def _peopled(elements: list[Element]) -> list[Element]:
    return [element for element in elements if len(element)]


def _credit(artist: Element) -> Row:
    row = {"artist_id": _number(artist.findtext("id")), "artist_name": _said(artist, "name")}
    return (
        row | {"join_string": _said(artist, "join")} | {name: _said(artist, name) for name in ("anv", "role", "tracks")}
    )


def _said(element: Element, path: str) -> str | None:
    return element.findtext(path) or None


def _number(text: str | None) -> int | None:
    return int(text or 0) or None


def _year(text: str | None) -> int | None:
    parts = (text or "").split("-")
    shaped = [len(part) for part in parts] in ([4], [4, 2], [4, 2, 2]) and all(part.isdecimal() for part in parts)
    return int(parts[0]) if shaped and 1850 <= int(parts[0]) <= 2099 else None


def _day(text: str | None) -> datetime.date | None:
    if _year(text) is None or len(text or "") != 10:
        return None
    try:
        return datetime.date.fromisoformat(text or "")
    except ValueError:
        return None


def _seconds(text: str | None) -> int | None:
    parts = (text or "").split(":")
    if len(parts) not in (2, 3) or not all(part.isdecimal() and part.isascii() for part in parts):
        return None
    if any(len(part) != 2 or int(part) > 59 for part in parts[1:]) or len(parts[0]) > (5 if len(parts) == 2 else 3):
        return None
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return seconds


_READERS = {"artists": _artist, "labels": _label, "masters": _master, "releases": _release}
