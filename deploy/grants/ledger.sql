-- The ledger's tables, which tableinator makes at its first start where its login may; and what
-- spindle_operator needs of them. After postgresql.sql and after an upgrade, as a superuser:
--   psql --single-transaction -v ON_ERROR_STOP=1 -d spindle -f deploy/grants/ledger.sql
-- Another owner of the tables, or schema: put its name for spindle_setup, or SET search_path first; then,
-- also after an upgrade, run the grants that postgresql.sql has as comments: what it grants in advance is
-- of spindle_setup's tables in public.

SET ROLE spindle_setup;

CREATE TABLE IF NOT EXISTS spindle_loads (
    load text NOT NULL,
    kind text NOT NULL,
    announced_at timestamptz,
    published bigint,
    skipped bigint,
    manifest text,
    file text,
    file_sha256 text,
    state text NOT NULL CHECK (state IN ('running', 'announced', 'complete', 'incomplete', 'failed')),
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
);

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
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS spindle_events (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    load text NOT NULL,
    kind text NOT NULL,
    phase text NOT NULL,
    event text NOT NULL,
    rows bigint,
    seconds double precision,
    detail jsonb
);

CREATE TABLE IF NOT EXISTS spindle_pauses (
    kind text PRIMARY KEY,
    since timestamptz,
    by text NOT NULL,
    reason text NOT NULL DEFAULT ''
);

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
);

CREATE TABLE IF NOT EXISTS spindle_removed (
    kind text NOT NULL,
    data_id text NOT NULL,
    load text NOT NULL,
    hash text NOT NULL,
    version text,
    data jsonb NOT NULL,
    removed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, data_id, load)
);

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
FROM spindle_loads AS loads FULL JOIN progress USING (load, kind);

CREATE OR REPLACE VIEW spindle_durations AS
SELECT source, target, status, started, watermark AS ended,
    extract(epoch FROM watermark - started)::double precision AS seconds, rows_read, rows_written,
    rows_read / nullif(extract(epoch FROM watermark - started)::double precision, 0) AS rows_per_second
FROM spindle_control WHERE started IS NOT NULL;

CREATE OR REPLACE VIEW spindle_running_long AS
SELECT running.source, running.target, running.started,
    extract(epoch FROM now() - running.started)::double precision AS seconds, earlier.median AS usual_seconds
FROM spindle_control AS running CROSS JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY durations.seconds) AS median
    FROM spindle_durations AS durations
    WHERE durations.target = running.target AND durations.source COLLATE "C" < running.source
    AND durations.status <> 'running'
) AS earlier
WHERE running.status = 'running' AND extract(epoch FROM now() - running.started) > 1.5 * earlier.median;

CREATE OR REPLACE VIEW spindle_failed AS
SELECT source, target, status, greatest(error_at, checked) AS at, rows_missing, rows_dead_lettered, error
FROM spindle_control
WHERE (status IN ('incomplete', 'failed') AND checked > now() - interval '24 hours')
OR error_at > now() - interval '24 hours';

CREATE OR REPLACE VIEW spindle_errors_by_load AS
SELECT load AS source, kind AS target, result, sum(errors)::bigint AS errors,
    (array_agg(last_error ORDER BY last_at DESC))[1] AS last_error, min(first_at) AS first_at, max(last_at) AS last_at
FROM spindle_errors GROUP BY load, kind, result;

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
$$;

GRANT INSERT, UPDATE ON spindle_loads TO spindle_operator;

GRANT INSERT, UPDATE ON spindle_pauses TO spindle_operator;

GRANT INSERT ON spindle_events TO spindle_operator;

RESET ROLE;
