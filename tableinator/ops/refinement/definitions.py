"""The refined tables as data: each column with its type, the expression that gives it, and what it is. Pure.

Names and columns are those that users of discogs-xml2db know. Statements and the page of columns are generated from
here, so that neither can say anything else.

Strict where a number names another record: there a text that is none makes the record fail, by name. Lenient in what
people typed (dates, durations, quantities): that stays as text, is null where it is typed, and is a finding.
"""

# ruff: noqa: S608 (what is put in are names of closed sets, and a schema whose name is looked at)

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from common.kinds import KINDS

YEARS: Final = r"(18[5-9]\d|19\d\d|20\d\d)"
"""Years in which a recording may have come out: from 1850 to 2099."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `value`: an expression over the sources of its table. `ours`: discogs-xml2db has no such column."""

    name: str
    type: str
    value: str
    about: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `source`: where its rows come from: `r`, the records (id, data), or `t`, the tracks of releases.

    `parent` is the column with the record's id, and `key` the columns that tell a record's rows apart.
    """

    name: str
    kind: str
    about: str
    parent: str
    key: tuple[str, ...]
    source: str
    columns: tuple[Column, ...]
    condition: str = ""

    @property
    def is_record(self) -> bool:
        """Whether it has one row for each record."""
        return self.parent == "id"


def tables_of(kind: str) -> tuple[Table, ...]:
    """The tables that a kind's records fill, in their order."""
    return tuple(table for table in TABLES if table.kind == kind)


def table_of(name: str) -> Table:
    """The table with this name.

    Raises: ValueError if there is none.
    """
    for table in TABLES:
        if table.name == name:
            return table
    raise ValueError(f"{name!r} is no refined table; there are {', '.join(table.name for table in TABLES)}")


def entries(holder: str, path: str, alias: str = "e") -> str:
    """A list's entries as rows (item, place): a bare element counts as a list of one, anything else as none."""
    found = f"({holder} #> '{{{path}}}')"
    return (
        f"jsonb_array_elements(CASE jsonb_typeof{found} WHEN 'array' THEN {found} WHEN 'object' THEN "
        f"jsonb_build_array({found}) WHEN 'string' THEN jsonb_build_array({found}) ELSE '[]' END) "
        f"WITH ORDINALITY AS {alias} (item, place)"
    )


def text(holder: str, key: str) -> str:
    """A text; null if it is empty."""
    return f"nullif({holder} ->> '{key}', '')"


def reference(holder: str, key: str) -> str:
    """The id of another record; null for none and 0. Fails if it is not a number."""
    return f"nullif(nullif({holder} ->> '{key}', ''), '0')::integer"


def seconds(value: str) -> str:
    """The seconds of `m:ss` or `h:mm:ss`; null if it is neither."""
    parts = [f"split_part({value}, ':', {place})::integer" for place in (1, 2, 3)]
    return (
        rf"CASE WHEN {value} ~ '^\d{{1,5}}:[0-5]\d$' THEN {parts[0]} * 60 + {parts[1]} "
        rf"WHEN {value} ~ '^\d{{1,3}}:[0-5]\d:[0-5]\d$' THEN {parts[0]} * 3600 + {parts[1]} * 60 + {parts[2]} END"
    )


def year(value: str) -> str:
    """The year of a date whose form is known; null if nothing could come out in it."""
    return rf"CASE WHEN {value} ~ '^{YEARS}(-\d\d(-\d\d)?)?$' THEN left({value}, 4)::integer END"


def day(value: str) -> str:
    """The day, if month and day are said and there is such a day."""
    month = f"make_date(left({value}, 4)::integer, substr({value}, 6, 2)::integer, 1)"
    last = f"extract(day FROM {month} + interval '1 month - 1 day')"
    number = f"substr({value}, 9, 2)::integer"
    return (
        rf"CASE WHEN {value} ~ '^{YEARS}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$' THEN "
        f"CASE WHEN {number} <= {last} THEN {month} + {number} - 1 END END"
    )


def is_odd_date(value: str) -> str:
    """Whether a date is impossible. Month or day 00 means that nobody knows it."""
    return (
        rf"CASE WHEN {value} IS NULL OR {value} ~ '^{YEARS}(-(0\d|1[0-2]))?$' OR {value} ~ "
        rf"'^{YEARS}-(0\d|1[0-2])-00$' THEN false ELSE ({day(value)}) IS NULL END"
    )


def whole(value: str, digits: int) -> str:
    """A whole number of at most so many digits; null if it is none."""
    return rf"CASE WHEN {value} ~ '^\d+$' AND length({value}) <= {digits} THEN ({value})::numeric END"


_PLACE = "e.place::integer"
_IDS = {"artists": "artist_id", "labels": "label_id", "masters": "master_id", "releases": "release_id"}
_PATHS = {"urls": "urls,url", "videos": "videos,video"}


def _id(about: str, name: str = "id") -> Column:
    return Column(name, "integer", "r.id", about)


def _place(about: str = "which entry of the record's list it is, from 1") -> Column:
    return Column("position", "integer", _PLACE, about, ours=True)


def _field(name: str, about: str, key: str = "", *, ours: bool = False, holder: str = "r.data") -> Column:
    return Column(name, "text", text(holder, key or name), about, ours)


def _item(name: str, about: str, key: str = "", *, ours: bool = False) -> Column:
    return _field(name, about, key, ours=ours, holder="e.item")


def _records(name: str, kind: str, *columns: Column) -> Table:
    noun = kind.removesuffix("s")
    return Table(name, kind, f"a row for each {noun}", "id", (), "record AS r", (_id(f"the {noun}'s id"), *columns))


def _listed(
    name: str, kind: str, path: str, about: str, *columns: Column, parent: str = "", condition: str = ""
) -> Table:
    """A table with a row for each entry of a list of the record."""
    parent = parent or _IDS[kind]
    source = f"record AS r CROSS JOIN LATERAL {entries('r.data', path)}"
    all_ = [_id(f"the {kind.removesuffix('s')}", parent), *columns]
    if all(column.name != "position" for column in columns):
        all_.append(_place())
    return Table(name, kind, about, parent, ("position",), source, tuple(all_), condition)


def _texts(name: str, kind: str, path: str, column: str, about: str) -> Table:
    """A table with a row for each text of a list."""
    value = "nullif(e.item #>> '{}', '')"
    return _listed(
        name, kind, path, about, Column(column, "text", value, "the text"), condition=f"WHERE {value} IS NOT NULL"
    )


def _videos(name: str, kind: str) -> Table:
    return _listed(
        name,
        kind,
        _PATHS["videos"],
        "a row for each video",
        Column("duration", "integer", whole("e.item ->> '@duration'", 9) + "::integer", "seconds"),
        _item("title", "its title"),
        _item("description", "its description"),
        _item("uri", "its address", "@src"),
    )


def _credit(*, extra: Column | None, track: bool = False, with_tracks: bool = True) -> tuple[Column, ...]:
    columns = [
        Column("artist_id", "integer", reference("e.item", "id"), "the artist; null if the credit is linked to none"),
        _item("artist_name", "the name of the artist's page", "name"),
        *([extra] if extra else []),
        _item("anv", "the name as it is on the release, if it is another"),
        Column("position", "integer", _PLACE, "which of its list it is, from 1"),
        _item("join_string", "what joins it to the next: `&`, `feat.`", "join"),
        _item("role", "what the artist did"),
    ]
    if with_tracks:
        columns.append(_item("tracks", "for which tracks, as it is written"))
    return tuple(columns)


def _both(holder: str, main: str, extra: str, no: str, yes: str) -> str:
    """Artists and credits as one list of (extra, item, place)."""
    return (
        f"(SELECT {no} AS extra, m.item, m.place FROM {entries(holder, main, 'm')} UNION ALL "
        f"SELECT {yes}, x.item, x.place FROM {entries(holder, extra, 'x')}) AS e"
    )


_RELEASED = text("r.data", "released")

_ARTISTS = (
    _records(
        "artist",
        "artists",
        _field("name", "its name; null for a few"),
        _field("realname", "the person's real name"),
        _field("profile", "its description, in Discogs' mark-up"),
        _field("data_quality", "what voters think of the record"),
    ),
    _texts("artist_url", "artists", "urls,url", "url", "a row for each address"),
    _texts("artist_namevariation", "artists", "namevariations,name", "name", "a row for each other spelling"),
    _listed(
        "artist_alias",
        "artists",
        "aliases",
        "a row for each other artist that is the same person",
        _item("alias_name", "the other's name", "name"),
        Column("alias_artist_id", "integer", reference("e.item", "id"), "the other; null in dumps of 2017 and before"),
    ),
    _listed(
        "group_member",
        "artists",
        "members",
        "a row for each member of a group",
        Column("member_artist_id", "integer", reference("e.item", "id"), "the member"),
        _item("member_name", "the member's name", "name"),
        parent="group_artist_id",
    ),
)

_LABELS = (
    _records(
        "label",
        "labels",
        _field("name", "its name; null for a few"),
        _field("contact_info", "how to reach it", "contactinfo"),
        _field("profile", "its description, in Discogs' mark-up"),
        Column("parent_id", "integer", reference("(r.data -> 'parentLabel')", "id"), "the label that it belongs to"),
        _field("parent_name", "that label's name", "name", holder="(r.data -> 'parentLabel')"),
        _field("data_quality", "what voters think of the record"),
    ),
    _texts("label_url", "labels", "urls,url", "url", "a row for each address"),
)

_MASTERS = (
    _records(
        "master",
        "masters",
        _field("title", "its title"),
        Column("year", "integer", year(text("r.data", "year")), "when it first came out; null if unknown"),
        Column("main_release", "integer", reference("r.data", "main_release"), "the release that stands for it"),
        _field("data_quality", "what voters think of the record"),
        _field("notes", "notes", ours=True),
    ),
    _listed("master_artist", "masters", "artists", "a row for each artist", *_credit(extra=None, with_tracks=False)),
    _texts("master_genre", "masters", "genres", "genre", "a row for each genre"),
    _texts("master_style", "masters", "styles", "style", "a row for each style"),
    _videos("master_video", "masters"),
)

_QTY = text("e.item", "qty")
_DURATION = text("t.item", "duration")
MASTER: Final = reference("r.data", "master_id")

_RELEASES = (
    _records(
        "release",
        "releases",
        _field("title", "its title"),
        _field("released", "when it came out, as it is written: `1999`, `1999-03-00`, `1999-03-15`"),
        _field("country", "where it came out"),
        _field("notes", "notes"),
        _field("data_quality", "what voters think of the record"),
        Column(
            "main",
            "integer",
            f"(SELECT (known.main_release IS NOT DISTINCT FROM r.id)::integer FROM {{schema}}.master AS known "
            f"WHERE known.id = {MASTER})",
            "1 if its master names it as main release, else 0; null without a master, or if that is not stored",
        ),
        Column("master_id", "integer", MASTER, "its master; null if it has none"),
        _field("status", "`Accepted` and others"),
        Column("released_year", "integer", year(_RELEASED), "the year, if it is one from 1850 to 2099", ours=True),
        Column("released_date", "date", day(_RELEASED), "the day, if it is said and there is such a day", ours=True),
    ),
    Table(
        "release_artist",
        "releases",
        "a row for each artist and for each credit",
        "release_id",
        ("extra", "position"),
        f"record AS r CROSS JOIN LATERAL {_both('r.data', 'artists', 'extraartists', '0', '1')}",
        (
            _id("the release", "release_id"),
            *_credit(extra=Column("extra", "integer", "e.extra", "0: by this artist; 1: a credit")),
        ),
    ),
    _listed(
        "release_label",
        "releases",
        "labels",
        "a row for each label and catalogue number",
        Column("label_id", "integer", reference("e.item", "id"), "the label"),
        _item("label_name", "the label's name", "name"),
        _item("catno", "the catalogue number"),
    ),
    _listed(
        "release_format",
        "releases",
        "formats",
        "a row for each format",
        _item("name", "`Vinyl`, `CD`"),
        Column("qty", "numeric", whole(_QTY, 1000), "how many, up to 10^63 and more; null if it is no whole number"),
        _item("text_string", "free text", "text"),
        Column(
            "descriptions",
            "text",
            "(SELECT string_agg(d.item #>> '{}', '; ' ORDER BY d.place) FROM "
            f"{entries('e.item', 'descriptions,description', 'd')})",
            "`LP; Album; Stereo`",
        ),
    ),
    Table(
        "release_track",
        "releases",
        "a row for each track, each heading and each part of a track",
        "release_id",
        ("sequence",),
        "track AS t",
        (
            Column("release_id", "integer", "t.id", "the release"),
            Column("sequence", "integer", "t.sequence", "its place among all of the release's, parts included, from 1"),
            _field("position", "`A1`, `2-03`; null for a heading", holder="t.item"),
            Column("parent", "integer", "t.parent", "of a part: the sequence of its track"),
            _field("title", "its title", holder="t.item"),
            Column("duration", "text", _DURATION, "as it is written"),
            Column("track_id", "text", "t.id || '-' || t.sequence", "the release and the sequence: `249504-3`"),
            Column(
                "duration_seconds",
                "integer",
                seconds(_DURATION),
                "the seconds of m:ss or h:mm:ss",
                ours=True,
            ),
        ),
    ),
    Table(
        "release_track_artist",
        "releases",
        "a row for each artist and each credit of a track",
        "release_id",
        ("track_sequence", "extra", "position"),
        f"track AS t CROSS JOIN LATERAL {_both('t.item', 'artists,artist', 'extraartists,artist', 'false', 'true')}",
        (
            Column("track_id", "text", "t.id || '-' || t.sequence", "the track"),
            Column("release_id", "integer", "t.id", "the release"),
            Column("track_sequence", "integer", "t.sequence", "the track's sequence"),
            *_credit(extra=Column("extra", "boolean", "e.extra", "false: by this artist; true: a credit")),
        ),
    ),
    _listed(
        "release_identifier",
        "releases",
        "identifiers,identifier",
        "a row for each barcode, matrix number and the like",
        _item("description", "which of several it is", "@description"),
        _item("type", "`Barcode`, `Matrix / Runout`", "@type"),
        _item("value", "the identifier", "@value"),
    ),
    _listed(
        "release_company",
        "releases",
        "companies,company",
        "a row for each company and what it did",
        Column("company_id", "integer", reference("e.item", "id"), "its label page; null if it is linked to none"),
        _item("company_name", "its name", "name"),
        _item("entity_type", "the number of what it did"),
        _item("entity_type_name", "what it did: `Pressed By`"),
        _item("uri", "its address in Discogs' API", "resource_url"),
        _item("catno", "its catalogue number", ours=True),
    ),
    _texts("release_genre", "releases", "genres", "genre", "a row for each genre"),
    _texts("release_style", "releases", "styles", "style", "a row for each style"),
    _videos("release_video", "releases"),
)

TABLES: Final = (*_ARTISTS, *_LABELS, *_MASTERS, *_RELEASES)

TRACKS: Final = f"""
track AS MATERIALIZED (
    SELECT id, item, sequence, CASE WHEN part > 0 THEN min(sequence) OVER (PARTITION BY id, main) END AS parent
    FROM (
        SELECT id, item, main, part, (row_number() OVER (PARTITION BY id ORDER BY main, part))::integer AS sequence
        FROM (
            SELECT r.id, m.item, m.place AS main, 0 AS part
            FROM record AS r CROSS JOIN LATERAL {entries("r.data", "tracklist,track", "m")}
            UNION ALL
            SELECT r.id, s.item, m.place, s.place
            FROM record AS r CROSS JOIN LATERAL {entries("r.data", "tracklist,track", "m")}
            CROSS JOIN LATERAL {entries("m.item", "sub_tracks,track", "s")}
        ) AS listed
    ) AS numbered
)"""
"""Tracks and their parts, numbered in the order in which they are printed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is odd in a record. `source` and `condition` as of a table; `value` is what is there."""

    name: str
    kind: str
    place: str
    source: str
    condition: str
    value: str


def _empty(kind: str, field: str) -> Finding:
    return Finding(f"empty {field}", kind, field, "record AS r", f"{text('r.data', field)} IS NULL", "NULL::text")


_YEAR = text("r.data", "year")

FINDINGS: Final = (
    _empty("artists", "name"),
    _empty("labels", "name"),
    _empty("masters", "title"),
    Finding("impossible year", "masters", "year", "record AS r", f"{_YEAR} <> '0' AND {year(_YEAR)} IS NULL", _YEAR),
    _empty("releases", "title"),
    Finding("impossible date", "releases", "released", "record AS r", is_odd_date(_RELEASED), _RELEASED),
    Finding(
        "unreadable duration",
        "releases",
        "release_track.duration",
        "track AS r CROSS JOIN LATERAL (SELECT r.item) AS t",
        f"{_DURATION} IS NOT NULL AND ({seconds(_DURATION)}) IS NULL",
        _DURATION,
    ),
    Finding(
        "unreadable quantity",
        "releases",
        "release_format.qty",
        f"record AS r CROSS JOIN LATERAL {entries('r.data', 'formats')}",
        f"{_QTY} IS NOT NULL AND ({whole(_QTY, 1000)}) IS NULL",
        _QTY,
    ),
)


@dataclass(frozen=True, slots=True)
class Link:
    """A column that names a record of another table."""

    table: str
    column: str
    target: str


LINKS: Final = tuple(
    Link(*each)
    for each in (
        ("artist_alias", "alias_artist_id", "artist"),
        ("group_member", "member_artist_id", "artist"),
        ("label", "parent_id", "label"),
        ("master", "main_release", "release"),
        ("master_artist", "artist_id", "artist"),
        ("release", "master_id", "master"),
        ("release_artist", "artist_id", "artist"),
        ("release_label", "label_id", "label"),
        ("release_company", "company_id", "label"),
        ("release_track_artist", "artist_id", "artist"),
    )
)
"""What may dangle: it is looked for by `--findings`."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index. `needed`: without it a changed record could only be found by reading the whole table."""

    name: str
    table: str
    method: str
    columns: str
    needed: bool = False
    bytes_per_row: int = 24
    """Measured on real records; what it needs on disk is this times the rows."""
    with_trigrams: bool = False

    @property
    def text_column(self) -> str:
        """Of one for searching: the column."""
        return self.columns.strip("()")


@cache
def indexes() -> tuple[Index, ...]:
    """Every index, the needed ones first."""
    return (*_needed(), *_wanted())


def _needed() -> Iterator[Index]:
    for table in TABLES:
        if not table.is_record:
            name = f"{table.name}_idx_{table.parent.removesuffix('_id').removesuffix('_artist')}"
            yield Index(name, table.name, "btree", f"({table.parent})", needed=True, bytes_per_row=12)
    yield Index("release_idx_master", "release", "btree", "(master_id)", needed=True, bytes_per_row=16)


def _wanted() -> Iterator[Index]:
    for name, table, columns in (
        ("artist_alias_idx_alias", "artist_alias", "(alias_artist_id)"),
        ("group_member_idx_member", "group_member", "(member_artist_id)"),
        ("label_idx_parent_label", "label", "(parent_id)"),
        ("master_artist_idx_artist", "master_artist", "(artist_id)"),
        ("release_artist_idx_artist", "release_artist", "(artist_id, extra)"),
        ("release_label_idx_label", "release_label", "(label_id)"),
        ("release_company_idx_company", "release_company", "(company_id)"),
        ("release_track_artist_idx_artist", "release_track_artist", "(artist_id, extra)"),
    ):
        yield Index(name, table, "btree", columns, bytes_per_row=20)
    # By hash: an entry of a B-tree may not exceed 2.7 kB, and people type longer ones.
    yield Index("release_label_idx_catno", "release_label", "hash", "(catno)", bytes_per_row=36)
    yield Index("release_identifier_idx_value", "release_identifier", "hash", "(value)", bytes_per_row=36)
    for table, column in (
        ("artist", "name"),
        ("label", "name"),
        ("master", "title"),
        ("release", "title"),
        ("release_track", "title"),
    ):
        yield Index(f"{table}_idx_{column}", table, "gin", f"({column})", bytes_per_row=60, with_trigrams=True)


ORDER: Final = KINDS
"""Masters before releases: a release's `main` is its master's word."""
