"""The statements that refine, generated from the definitions; a schema's name is all that is put in. Pure."""

# ruff: noqa: S608 (what is put in are names of closed sets, and a schema whose name is looked at)

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

from common.errors import StartRefused
from common.kinds import KINDS
from tableinator.ops.refinement.definitions import FINDINGS, LINKS, TRACKS, Column, Table, table_of, tables_of

SCHEMA: Final = "discogs"

# A hash that is there says what the content is. By md5 because it fits 16 bytes, and whatever text a producer sends.
_DIGEST: Final = "md5(CASE raw.hash WHEN '' THEN raw.data::text ELSE raw.hash END)::uuid"

_NUMBER: Final = r"""raw.data_id ~ '^[1-9][0-9]{0,9}$'
    AND (length(raw.data_id) < 10 OR raw.data_id COLLATE "C" <= '2147483647')"""
"""Whether an id is one that the tables can hold."""

_BOOKS: Final = (
    """CREATE TABLE IF NOT EXISTS {schema}.refine_table (
    name text PRIMARY KEY, kind text NOT NULL, version text NOT NULL, made_at timestamptz NOT NULL DEFAULT now()
)""",
    """CREATE TABLE IF NOT EXISTS {schema}.refine_record (
    kind text NOT NULL, id integer NOT NULL, digest uuid NOT NULL, PRIMARY KEY (kind, id)
)""",
    """CREATE TABLE IF NOT EXISTS {schema}.refine_range (
    range bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, only_table text, ids integer[] NOT NULL
)""",
    """CREATE TABLE IF NOT EXISTS {schema}.refine_mark (
    kind text PRIMARY KEY, horizon text NOT NULL, origin text NOT NULL, planned_at timestamptz NOT NULL DEFAULT now()
)""",
    """CREATE TABLE IF NOT EXISTS {schema}.refine_failure (
    kind text NOT NULL, data_id text NOT NULL, version text NOT NULL, sqlstate text NOT NULL, message text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (kind, data_id)
)""",
    """CREATE TABLE IF NOT EXISTS {schema}.refine_finding (
    kind text NOT NULL, id integer NOT NULL, finding text NOT NULL, place text NOT NULL, value text
)""",
    "CREATE INDEX IF NOT EXISTS refine_finding_idx_record ON {schema}.refine_finding (kind, id)",
)

BOOK_NAMES: Final = ("refine_table", "refine_record", "refine_range", "refine_mark", "refine_failure", "refine_finding")


def check_schema(name: str) -> str:
    """The name, if it is one that needs no quotes.

    Raises: StartRefused.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise StartRefused(f"--schema {name!r}: allowed are small letters, digits and _, a letter first.")
    return name


@cache
def version_of(table: str) -> str:
    """What changes if a table's definition does: then the table is made again."""
    made = table_of(table)
    columns = [(column.name, column.type, column.value) for column in made.columns]
    said = f"{made.parent}{made.key}{made.source}{made.condition}{columns}{TRACKS if 'track AS' in made.source else ''}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


@cache
def version_of_kind(kind: str) -> str:
    """What changes if any of a kind's tables does: then what failed is tried again."""
    return hashlib.sha256("".join(version_of(table.name) for table in tables_of(kind)).encode()).hexdigest()[:16]


class Statements:
    """The statements of one kind in one schema."""

    def __init__(self, schema: str, kind: str) -> None:
        """Raises: ValueError for a name that is not a kind; StartRefused for a schema whose name needs quotes."""
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not a kind; there are {', '.join(KINDS)}")
        self.schema, self.kind = check_schema(schema), kind
        self.tables = tables_of(kind)

    def digests(self) -> str:
        """Of these ids what is stored and what is refined; arguments: kind, ids.

        What failed has no rows, so that it counts as new; and as gone, like any other, when it is no longer stored.
        """
        return self._put(f"""
SELECT wanted.id, CASE WHEN raw.data_id IS NULL THEN NULL ELSE {_DIGEST} END AS stored,
    CASE WHEN failed.data_id IS NULL OR raw.data_id IS NULL THEN known.digest END AS known
FROM unnest($2::integer[]) AS wanted (id)
LEFT JOIN {self.kind} AS raw ON raw.data_id = wanted.id::text
LEFT JOIN {{schema}}.refine_record AS known ON known.kind = $1 AND known.id = wanted.id
LEFT JOIN {{schema}}.refine_failure AS failed ON failed.kind = $1 AND failed.data_id = wanted.id::text""")

    def insert_new(self, only: str | None = None) -> str:
        """Write the rows of records that have none; argument: ids. Returns a column of counts for each table."""
        written = [
            f"""w_{table.name} AS (
    INSERT INTO {{schema}}.{table.name} ({_names(table)}) SELECT {_values(table)} FROM {table.source} {table.condition}
    RETURNING 1
)"""
            for table in self._of(only)
        ]
        return self._counting(only, written)

    def delete_differing(self) -> str:
        """Delete rows that a changed record no longer has so; argument: ids."""
        return self._counting(
            None,
            [
                f"""n_{table.name} AS MATERIALIZED ({self._select(table)}),
w_{table.name} AS (
    DELETE FROM {{schema}}.{table.name} AS old WHERE old.{table.parent} = ANY($1::integer[])
    AND NOT EXISTS (SELECT FROM n_{table.name} AS new WHERE {_same(table)})
    RETURNING 1
)"""
                for table in self.tables
            ],
        )

    def insert_missing(self) -> str:
        """Write the rows that a changed record has and the table lacks; argument: ids."""
        return self._counting(
            None,
            [
                f"""n_{table.name} AS MATERIALIZED ({self._select(table)}),
w_{table.name} AS (
    INSERT INTO {{schema}}.{table.name} ({_names(table)}) SELECT {_names(table)} FROM n_{table.name} AS new
    WHERE NOT EXISTS (SELECT FROM {{schema}}.{table.name} AS old WHERE {_same(table)})
    RETURNING 1
)"""
                for table in self.tables
            ],
        )

    def delete_all(self) -> str:
        """Delete all rows of records that are gone; argument: ids."""
        deleted = ", ".join(
            f"w_{table.name} AS (DELETE FROM {{schema}}.{table.name} WHERE {table.parent} = ANY($1::integer[]) "
            "RETURNING 1)"
            for table in self.tables
        )
        return self._put(f"WITH {deleted} {_counts(self.tables)}")

    def link_main(self) -> str:
        """Have releases follow their masters' word about which is the main one; argument: masters' ids."""
        return self._put("""
UPDATE {schema}.release AS r SET main = word.main FROM (
    SELECT r.id, (SELECT (known.main_release IS NOT DISTINCT FROM r.id)::integer
        FROM {schema}.master AS known WHERE known.id = r.master_id) AS main
    FROM {schema}.release AS r WHERE r.master_id = ANY($1::integer[])
) AS word
WHERE r.id = word.id AND r.main IS DISTINCT FROM word.main""")

    def forget_findings(self) -> str:
        """Forget what was odd in records; arguments: kind, ids."""
        return self._put(
            "DELETE FROM {schema}.refine_finding WHERE kind = $1 AND id = ANY($2::integer[]) AND finding <> 'dangling'"
        )

    def note_findings(self) -> str:
        """Note what is odd in records; argument: ids."""
        odd = " UNION ALL ".join(
            f"SELECT '{each.kind}', r.id, '{each.name}', '{each.place}', left({each.value}, 200) "
            f"FROM {each.source} WHERE {each.condition}"
            for each in FINDINGS
            if each.kind == self.kind
        )
        return self._put(
            f"WITH {self._sources(odd)} INSERT INTO {{schema}}.refine_finding (kind, id, finding, place, value) {odd}"
        )

    def plan(self, *, whole: bool) -> str:
        """Cut what is to be refined into ranges; arguments: kind, ids per range, the horizon, the version.

        `whole`: compare every record; else those that a transaction has written that was not over at the horizon.
        """
        # A row's own transaction, and not its updated_at: that is when a transaction began, and one that commits late
        # has an earlier one than rows that were refined long ago.
        fresh = "true" if whole else "((raw.xmin::text::bigint - $3::bigint) & 4294967295) < 2147483648"
        unused = "AND $3::bigint IS NOT NULL" if whole else ""
        return self._put(f"""
WITH {self._candidates(fresh, unused)}, ranges AS (
    INSERT INTO {{schema}}.refine_range (kind, ids)
    SELECT $1, array_agg(id ORDER BY id)
    FROM (SELECT id, (row_number() OVER (ORDER BY id) - 1) / $2::bigint AS part FROM candidate) AS numbered
    GROUP BY part ORDER BY part
    RETURNING cardinality(ids) AS count
)
SELECT coalesce(sum(count), 0)::bigint FROM ranges""")

    def count(self) -> str:
        """Count what a plan would find, by comparing every record: new, changed, gone; arguments: kind, the version."""
        return self._put(f"""
WITH {self._candidates("true", "", version="$2")}
SELECT count(*) FILTER (WHERE known.id IS NULL AND raw.data_id IS NOT NULL) AS new,
    count(*) FILTER (WHERE known.id IS NOT NULL AND raw.data_id IS NOT NULL) AS changed,
    count(*) FILTER (WHERE raw.data_id IS NULL) AS gone
FROM candidate LEFT JOIN {self.kind} AS raw ON raw.data_id = candidate.id::text
LEFT JOIN {{schema}}.refine_record AS known ON known.kind = $1 AND known.id = candidate.id""")

    def _candidates(self, fresh: str, unused: str, version: str = "$4") -> str:
        return f"""candidate AS (
    SELECT raw.data_id::integer AS id FROM {self.kind} AS raw
    LEFT JOIN {{schema}}.refine_record AS known
        ON known.kind = $1 AND known.id = CASE WHEN {_NUMBER} THEN raw.data_id::integer END
    WHERE {_NUMBER} AND {fresh} {unused} AND known.digest IS DISTINCT FROM {_DIGEST}
    UNION
    SELECT failed.data_id::integer FROM {{schema}}.refine_failure AS failed JOIN {self.kind} AS raw USING (data_id)
    WHERE failed.kind = $1 AND failed.version <> {version} AND {_NUMBER}
    UNION
    SELECT known.id FROM {{schema}}.refine_record AS known WHERE known.kind = $1
    AND NOT EXISTS (SELECT FROM {self.kind} AS raw WHERE raw.data_id = known.id::text)
)"""

    def plan_table(self) -> str:
        """Cut all refined records into ranges of one table; arguments: kind, ids per range, the table."""
        return self._put("""
WITH ranges AS (
    INSERT INTO {schema}.refine_range (kind, only_table, ids)
    SELECT $1, $3, array_agg(id ORDER BY id)
    FROM (
        SELECT id, (row_number() OVER (ORDER BY id) - 1) / $2::bigint AS part FROM {schema}.refine_record AS known
        WHERE kind = $1 AND NOT EXISTS (
            SELECT FROM {schema}.refine_failure AS failed WHERE failed.kind = $1 AND failed.data_id = known.id::text
        )
    ) AS numbered
    GROUP BY part ORDER BY part
    RETURNING cardinality(ids) AS count
)
SELECT coalesce(sum(count), 0)::bigint FROM ranges""")

    def cut(self) -> str:
        """Cut ranges that are larger, and that nobody works on; arguments: kind, ids per range, the range or null."""
        return self._put("""
WITH large AS (
    DELETE FROM {schema}.refine_range WHERE range IN (
        SELECT range FROM {schema}.refine_range WHERE kind = $1 AND cardinality(ids) > $2::integer
        AND ($3::bigint IS NULL OR range = $3) FOR UPDATE SKIP LOCKED
    )
    RETURNING range, only_table, ids
)
INSERT INTO {schema}.refine_range (kind, only_table, ids)
SELECT $1, only_table, ids[first : first + $2::integer - 1]
FROM large, generate_series(1, cardinality(ids), $2::integer) AS first ORDER BY range, first""")

    def note_strangers(self) -> str:
        """Name the records whose id no table can hold, and forget failures of records that are gone; kind, version."""
        return self._put(f"""
WITH gone AS (
    DELETE FROM {{schema}}.refine_failure AS failed WHERE kind = $1
    AND NOT EXISTS (SELECT FROM {self.kind} AS raw WHERE raw.data_id = failed.data_id)
)
INSERT INTO {{schema}}.refine_failure (kind, data_id, version, sqlstate, message)
SELECT $1, raw.data_id, $2, '', 'its id is no number from 1 to 2147483647'
FROM {self.kind} AS raw WHERE NOT ({_NUMBER}) ON CONFLICT DO NOTHING""")

    def _of(self, only: str | None) -> Sequence[Table]:
        return [table for table in self.tables if only in (None, table.name)]

    def _select(self, table: Table) -> str:
        values = ", ".join(f"{column.value} AS {column.name}" for column in table.columns)
        return f"SELECT {values} FROM {table.source} {table.condition}"

    def _sources(self, uses: str) -> str:
        # Without its first key it is a copy in memory: a stored body would be fetched and unpacked for every table.
        record = (
            "record AS MATERIALIZED (SELECT data_id::integer AS id, data - 'type' AS data "
            f"FROM {self.kind} WHERE data_id = ANY($1::integer[]::text[]))"
        )
        return f"{record}, {TRACKS}" if "track AS" in uses else record

    def _counting(self, only: str | None, written: Sequence[str]) -> str:
        tables = self._of(only)
        body = ",\n".join(written)
        return self._put(f"WITH {self._sources(body)},\n{body}\n{_counts(tables)}")

    def _put(self, statement: str) -> str:
        return statement.replace("{schema}", self.schema).strip()


def book_statements(schema: str) -> Iterator[str]:
    """The statements that make the books beside the tables."""
    for statement in _BOOKS:
        yield statement.replace("{schema}", check_schema(schema))


def creation(schema: str, table: Table) -> str:
    """The statement that makes a table, with a primary key if it has a row for each record."""
    columns = ", ".join(_definition(table, column) for column in table.columns)
    return f"CREATE TABLE {check_schema(schema)}.{table.name} ({columns})"


def dangling(schema: str) -> Iterator[tuple[str, str]]:
    """Of each link its name and the statement that notes what dangles."""
    for link in LINKS:
        table = table_of(link.table)
        yield (
            f"{link.table}.{link.column}",
            f"INSERT INTO {schema}.refine_finding (kind, id, finding, place, value) "
            f"SELECT DISTINCT '{table.kind}', link.{table.parent}, 'dangling', '{link.table}.{link.column}', "
            f"link.{link.column}::text FROM {schema}.{link.table} AS link WHERE link.{link.column} IS NOT NULL "
            f"AND NOT EXISTS (SELECT FROM {schema}.{link.target} AS target WHERE target.id = link.{link.column})",
        )


def _definition(table: Table, column: Column) -> str:
    if table.is_record and column.name == "id":
        return "id integer PRIMARY KEY"
    needed = " NOT NULL" if column.name == table.parent or column.name in table.key else ""
    return f"{column.name} {column.type}{needed}"


def _names(table: Table) -> str:
    return ", ".join(column.name for column in table.columns)


def _values(table: Table) -> str:
    return ", ".join(column.value for column in table.columns)


def _same(table: Table) -> str:
    """Whether `old` and `new` are the same row."""
    keys = (table.parent, *table.key)
    rest = [column.name for column in table.columns if column.name not in keys]
    equal = [f"old.{key} = new.{key}" for key in keys]
    if rest:
        old, new = (", ".join(f"{side}.{name}" for name in rest) for side in ("old", "new"))
        equal.append(f"ROW({old}) IS NOT DISTINCT FROM ROW({new})")
    return " AND ".join(equal)


def _counts(tables: Sequence[Table]) -> str:
    return "SELECT " + ", ".join(f"(SELECT count(*) FROM w_{table.name}) AS {table.name}" for table in tables)
