"""The statements that write and read a kind's table: fixed texts, with a name of a closed set put in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from common.delivery import LOAD_PATTERN
from common.kinds import KINDS

# The last condition is always true and never evaluated, but the server checks its types whenever it parses the
# statement again: each function takes text, or jsonb, only. So a column whose type an operator has changed raises 42883
# here, before the binary COPY that follows could put jsonb's bytes into a column of another type and corrupt it. (The
# type can't change in between: the look-up's lock on the table lasts as long as the transaction.)
_LOOK_UP: Final = """
SELECT data_id, hash, version FROM {table} WHERE data_id = ANY($1::text[])
AND (TRUE OR ascii(data_id) + ascii(hash) + ascii(version) + ascii(jsonb_typeof(data)) = 0)
"""

_WRITE: Final = """
INSERT INTO {table} AS stored (data_id, hash, data, version)
SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::text[])
ON CONFLICT (data_id) DO UPDATE
SET hash = excluded.hash, data = excluded.data, version = excluded.version, updated_at = now()
"""

# COLLATE "C" compares by code point, as Python does. Rows that the condition skips are locked all the same, so what
# they hold can be read afterwards and is what they were skipped for. What is no day orders nothing, and is looked
# at only if it would be newer.
_IF_NEEDED: Final = f"""
WHERE (stored.hash <> excluded.hash OR excluded.hash = '')
AND (stored.version IS NULL OR excluded.version IS NULL OR stored.version COLLATE "C" <= excluded.version
    OR stored.version !~ '^{LOAD_PATTERN}$')
"""

# Before 18 there is no other way to tell, and none at all in a partitioned table.
_IS_NEW: Final = "RETURNING data_id, xmax = 0 AS is_new"
_IS_NEW_FROM_18: Final = "RETURNING data_id, old.data_id IS NULL AS is_new"

# An empty hash says nothing about the content, so there the content itself is compared: an older record must not come
# back over a newer one.
_REWRITE: Final = """
UPDATE {table} SET hash = $2, data = $3::jsonb
WHERE data_id = $1 AND hash = $2 AND ($2 <> '' OR data = $3::jsonb)
"""

# In the order of the places where rows lie, so that a reader can go on behind a row. Each part of a partitioned table
# has places of its own: there the id is the place.
_READ: Final = "SELECT {place} AS place, data_id, hash, version, data FROM {table} WHERE {place} > $1{order}"

_PLACES: Final = "SELECT {place} AS place, data_id, hash, version FROM {table} WHERE {place} > $1{order} LIMIT $2"

_READ_ONE: Final = "SELECT data FROM {table} WHERE {place} = $1"

_READ_IDS: Final = "SELECT data_id, hash, version, data FROM {table} WHERE data_id = ANY($1::text[])"

_PLACES_OF_IDS: Final = "SELECT {place} AS place, data_id, hash, version FROM {table} WHERE data_id = ANY($1::text[])"

_READ_NOTHING: Final = "SELECT FROM {table}"

_COUNT: Final = "SELECT count(*) FROM {table}"

IS_PARTITIONED: Final = "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass($1)"
"""Of a table's name; no row if there is none."""

CONFIRM: Final = "SELECT pg_logical_emit_message(true, 'spindle', '')"
"""Writes a few bytes to the server's log of changes and to no table: its commit waits for what was committed before."""

COLUMNS: Final = ("data_id", "hash", "data", "version")
"""What COPY fills, in this order."""


@dataclass(frozen=True, slots=True)
class Statements:
    """One kind's statements. Arguments: `look_up` (ids); `upsert`, `upsert_from_18` (for PostgreSQL 18) and `overwrite`
    (lists of ids, hashes, bodies, versions); `rewrite` (id, hash, body); `read` (the place to read behind), `places`
    (the same, and how many), `read_one` (a place); `read_ids` and `places_of_ids` (ids); `read_nothing` (a row without
    columns for each row) and `count` take none.
    """

    table: str
    look_up: str
    upsert: str
    upsert_from_18: str
    overwrite: str
    rewrite: str
    read: str
    places: str
    read_one: str
    read_ids: str
    places_of_ids: str
    read_nothing: str
    count: str

    @classmethod
    def of(cls, kind: str, *, partitioned: bool = False) -> Self:
        """The statements of a kind, and whether its table has parts; only what reads by places differs.

        Raises: ValueError for a name that is not a kind: nothing else ever becomes part of a statement.
        """
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not a kind; there are {', '.join(KINDS)}")
        texts = (
            _LOOK_UP,
            _WRITE + _IF_NEEDED + _IS_NEW,
            _WRITE + _IF_NEEDED + _IS_NEW_FROM_18,
            _WRITE,
            _REWRITE,
            _READ,
            _PLACES,
            _READ_ONE,
            _READ_IDS,
            _PLACES_OF_IDS,
            _READ_NOTHING,
            _COUNT,
        )
        place, order = ("data_id", " ORDER BY data_id") if partitioned else ("ctid", "")
        put_in = {"{table}": kind, "{place}": place, "{order}": order}
        return cls(kind, *(_with(text, put_in) for text in texts))


def _with(text: str, put_in: Mapping[str, str]) -> str:
    for name, value in put_in.items():
        text = text.replace(name, value)
    return text.strip()
