"""The ledger as data: its tables, its views, and the statements that make them. Pure.

It lies beside the kinds' tables, and every statement may be run again: what exists is left as it is. Names are found by
the user's search_path, as the kinds' are.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from common.loads import State
from tableinator.tables import FoundTable, unkept

PRIVILEGES: Final[Mapping[str, tuple[str, ...]]] = {
    "spindle_loads": ("SELECT", "INSERT", "UPDATE"),
    "spindle_progress": ("SELECT", "INSERT", "UPDATE"),
    "spindle_events": ("INSERT",),
    "spindle_pauses": ("SELECT",),
    "spindle_errors": ("SELECT", "INSERT", "UPDATE"),
}
"""What tableinator needs of the ledger's tables."""

TABLES: Final = (*PRIVILEGES, "spindle_removed")

VIEWS: Final = (
    "spindle_control",
    "spindle_running_long",
    "spindle_failed",
    "spindle_durations",
    "spindle_errors_by_load",
)

FUNCTION: Final = "spindle_as_of(timestamptz)"

MADE_BY: Final = "deploy/grants/ledger.sql"
"""The statements, as they are shipped."""

_STATES: Final = ", ".join(f"'{state}'" for state in State)

_LOADS: Final = f"""
CREATE TABLE IF NOT EXISTS spindle_loads (
    load text NOT NULL,
    kind text NOT NULL,
    announced_at timestamptz,
    published bigint,
    skipped bigint,
    manifest text,
    file text,
    file_sha256 text,
    state text NOT NULL CHECK (state IN ({_STATES})),
    checked_at timestamptz,
    missing bigint,
    different bigint,
    dead bigint,
    newer bigint,
    gone bigint,
    removed bigint,
    removed_at timestamptz,
    reason text,
    PRIMARY KEY (load, kind)
)"""

# One row per process and writer, so that no two transactions ever touch one row. Half of a page is kept free: an update
# then stays on its page, and touches no index.
_PROGRESS: Final = """
CREATE TABLE IF NOT EXISTS spindle_progress (
    load text NOT NULL,
    kind text NOT NULL,
    process text NOT NULL,
    writer smallint NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now(),
    at timestamptz NOT NULL DEFAULT now(),
    batches bigint NOT NULL DEFAULT 0,
    new bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    unchanged bigint NOT NULL DEFAULT 0,
    stale bigint NOT NULL DEFAULT 0,
    superseded bigint NOT NULL DEFAULT 0,
    dead_lettered bigint NOT NULL DEFAULT 0,
    last_error text,
    last_error_at timestamptz,
    PRIMARY KEY (load, kind, process, writer)
) WITH (fillfactor = 50)"""

_EVENTS: Final = """
CREATE TABLE IF NOT EXISTS spindle_events (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    load text NOT NULL,
    kind text NOT NULL,
    phase text NOT NULL,
    event text NOT NULL,
    rows bigint,
    seconds double precision,
    detail jsonb
)"""

_PAUSES: Final = """
CREATE TABLE IF NOT EXISTS spindle_pauses (
    kind text PRIMARY KEY,
    since timestamptz,
    by text NOT NULL,
    reason text NOT NULL DEFAULT ''
)"""

# No CHECK on `result`: during an upgrade a newer replica may write one that an older one does not know.
_LOAD_ERRORS: Final = """
CREATE TABLE IF NOT EXISTS spindle_errors (
    load text NOT NULL,
    kind text NOT NULL,
    process text NOT NULL,
    result text NOT NULL,
    errors bigint NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '',
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (load, kind, process, result)
)"""

_REMOVED: Final = """
CREATE TABLE IF NOT EXISTS spindle_removed (
    kind text NOT NULL,
    data_id text NOT NULL,
    load text NOT NULL,
    hash text NOT NULL,
    version text,
    data jsonb NOT NULL,
    removed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, data_id, load)
)"""

# A load is in it as soon as its first numbers are, whether it was announced or not.
_CONTROL: Final = """
CREATE OR REPLACE VIEW spindle_control AS
WITH progress AS (
    SELECT load, kind, min(began_at) AS began_at, max(at) AS at,
        sum(new + changed + unchanged + stale + superseded + dead_lettered)::bigint AS read,
        sum(new + changed)::bigint AS written, sum(dead_lettered)::bigint AS dead_lettered,
        (array_agg(last_error ORDER BY last_error_at DESC) FILTER (WHERE last_error_at IS NOT NULL))[1] AS last_error,
        max(last_error_at) AS last_error_at
    FROM spindle_progress GROUP BY load, kind
)
SELECT load AS source, kind AS target, coalesce(loads.state, 'running') AS status,
    least(progress.began_at, loads.announced_at) AS started,
    CASE WHEN loads.state = 'complete' THEN loads.checked_at END AS completed,
    coalesce(progress.read, 0) AS rows_read, coalesce(progress.written, 0) AS rows_written,
    greatest(progress.at, loads.announced_at) AS watermark,
    coalesce(loads.reason, progress.last_error) AS error, progress.last_error_at AS error_at,
    loads.announced_at AS announced, loads.published AS rows_published, loads.missing AS rows_missing,
    coalesce(progress.dead_lettered, 0) AS rows_dead_lettered, loads.checked_at AS checked
FROM spindle_loads AS loads FULL JOIN progress USING (load, kind)"""

# From the first record to the last that was written or counted: what waits for a check afterwards takes no time.
_DURATIONS: Final = """
CREATE OR REPLACE VIEW spindle_durations AS
SELECT source, target, status, started, watermark AS ended,
    extract(epoch FROM watermark - started)::double precision AS seconds, rows_read, rows_written,
    rows_read / nullif(extract(epoch FROM watermark - started)::double precision, 0) AS rows_per_second
FROM spindle_control WHERE started IS NOT NULL"""

_RUNNING_LONG: Final = """
CREATE OR REPLACE VIEW spindle_running_long AS
SELECT running.source, running.target, running.started,
    extract(epoch FROM now() - running.started)::double precision AS seconds, earlier.median AS usual_seconds
FROM spindle_control AS running CROSS JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY durations.seconds) AS median
    FROM spindle_durations AS durations
    WHERE durations.target = running.target AND durations.source COLLATE "C" < running.source
    AND durations.status <> 'running'
) AS earlier
WHERE running.status = 'running' AND extract(epoch FROM now() - running.started) > 1.5 * earlier.median"""

_FAILED: Final = """
CREATE OR REPLACE VIEW spindle_failed AS
SELECT source, target, status, greatest(error_at, checked) AS at, rows_missing, rows_dead_lettered, error
FROM spindle_control
WHERE (status IN ('incomplete', 'failed') AND checked > now() - interval '24 hours')
OR error_at > now() - interval '24 hours'"""

SUMS_OF_ERRORS: Final = """result, sum(errors)::bigint AS errors,
    (array_agg(last_error ORDER BY last_at DESC))[1] AS last_error, min(first_at) AS first_at, max(last_at) AS last_at
FROM spindle_errors GROUP BY load, kind, result"""
"""What is selected of errors behind load and kind, over all processes."""

_ERRORS_BY_LOAD: Final = f"""
CREATE OR REPLACE VIEW spindle_errors_by_load AS
SELECT load AS source, kind AS target, {SUMS_OF_ERRORS}"""

# By the events, because a load's row has only the last check's word.
_AS_OF: Final = """
CREATE OR REPLACE FUNCTION spindle_as_of(moment timestamptz)
RETURNS TABLE (target text, source text, announced timestamptz, checked timestamptz, status text)
LANGUAGE sql STABLE AS $$
SELECT DISTINCT ON (events.kind) events.kind, events.load,
    max(events.at) FILTER (WHERE events.phase = 'load') OVER same,
    max(events.at) FILTER (WHERE events.phase = 'check') OVER same, events.event
FROM spindle_events AS events
WHERE events.at <= moment AND events.phase IN ('load', 'check')
WINDOW same AS (PARTITION BY events.kind, events.load)
ORDER BY events.kind, events.load COLLATE "C" DESC, events.at DESC
$$"""

_DEFINITION: Final = re.compile(r"^    ([a-z]\w*) (.+?),?$", re.MULTILINE)

CREATIONS: Final[Mapping[str, str]] = {
    name: statement.strip()
    for name, statement in {
        "spindle_loads": _LOADS,
        "spindle_progress": _PROGRESS,
        "spindle_events": _EVENTS,
        "spindle_pauses": _PAUSES,
        "spindle_errors": _LOAD_ERRORS,
        "spindle_removed": _REMOVED,
        "spindle_control": _CONTROL,
        "spindle_durations": _DURATIONS,
        "spindle_running_long": _RUNNING_LONG,
        "spindle_failed": _FAILED,
        "spindle_errors_by_load": _ERRORS_BY_LOAD,
        FUNCTION: _AS_OF,
    }.items()
}
"""The statement that makes each table, view or function, in an order in which each finds what it needs.

Of a ledger that lacks some, only what it lacks is made: `IF NOT EXISTS` looks in one schema alone, so that a second,
empty table would hide one that the search_path finds; and a view may be replaced by its owner only.
"""

COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    table: dict(_DEFINITION.findall(CREATIONS[table])) for table in TABLES
}
"""Each table's columns with their definitions."""

_GRANTS: Final = (
    "GRANT INSERT, UPDATE ON spindle_loads TO spindle_operator",
    "GRANT INSERT, UPDATE ON spindle_pauses TO spindle_operator",
    "GRANT INSERT ON spindle_events TO spindle_operator",
)
"""What `spindle check` and `spindle pause` write; all else an operator only reads."""

MISSING: Final = """
SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NULL
UNION ALL SELECT $2 WHERE to_regprocedure($2) IS NULL
"""
"""Names of what is missing; arguments: tables and views, and the function."""

HOME: Final = """
SELECT nspname AS home FROM unnest($1::text[]) WITH ORDINALITY AS known (name, place)
JOIN pg_class ON pg_class.oid = to_regclass(name) JOIN pg_namespace ON pg_namespace.oid = relnamespace
ORDER BY place LIMIT 1
"""
"""The schema that the ledger is in, no row if there is none of it; argument: its tables."""

LOOK_IN: Final = "SELECT set_config('search_path', quote_ident($1) || ', ' || current_setting('search_path'), true)"
"""Have the rest of a transaction make what it makes in this schema."""

LACKING: Final = """
SELECT name, privilege FROM unnest($1::text[], $2::text[]) AS needed (name, privilege)
WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), privilege)
"""
"""Privileges that this user lacks; arguments: tables, and for each the privilege."""


def differences(table: str, found: FoundTable) -> list[str]:
    """What makes a found table of the ledger unusable, as of a kind's: `tables.differences`."""
    if not found.ordinary:
        return [f"{table} is not an ordinary table"]
    missing = {name: definition for name, definition in COLUMNS[table].items() if name not in found.columns}
    return [
        *(
            f"column {name} is missing; ALTER TABLE {table} ADD COLUMN {name} {definition}"
            for name, definition in missing.items()
        ),
        *unkept(table, found),
    ]


def shipped() -> str:
    """The text of the shipped file."""
    head = (
        "-- The ledger's tables, which tableinator makes at its first start where its login may; and what\n"
        "-- spindle_operator needs of them. After postgresql.sql and after an upgrade, as a superuser:\n"
        "--   psql --single-transaction -v ON_ERROR_STOP=1 -d spindle -f deploy/grants/ledger.sql\n"
        "-- Another owner of the tables, or schema: put its name for spindle_setup, or SET search_path first; then,\n"
        "-- also after an upgrade, run the grants that postgresql.sql has as comments: what it grants in advance is\n"
        "-- of spindle_setup's tables in public.\n\n"
    )
    statements = ("SET ROLE spindle_setup", *CREATIONS.values(), *_GRANTS, "RESET ROLE")
    return head + "\n\n".join(f"{statement};" for statement in statements) + "\n"


def lacking_sentence(lacking: Iterable[tuple[str, str]]) -> str:
    """What to grant; the end of a sentence."""
    by_table: dict[str, list[str]] = {}
    for table, privilege in lacking:
        by_table.setdefault(table, []).append(privilege)
    return "; ".join(f"GRANT {', '.join(granted)} ON {table} TO CURRENT_USER" for table, granted in by_table.items())


if __name__ == "__main__":
    print(shipped(), end="")
