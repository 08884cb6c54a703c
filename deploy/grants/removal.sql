-- The login that may remove what a load no longer has (`spindle remove`), and nobody else's: services keep no right to
-- delete. Once, after the tables are made (postgresql.sql, ledger.sql), as a superuser:
--   psql --single-transaction -v ON_ERROR_STOP=1 -d spindle -f deploy/grants/removal.sql
-- and a password: \password spindle_remover. Another database or schema: put its name for spindle or public.

CREATE ROLE spindle_remover LOGIN;

GRANT CONNECT ON DATABASE spindle TO spindle_remover;
GRANT USAGE ON SCHEMA public TO spindle_remover;

GRANT SELECT, DELETE ON artists, labels, masters, releases TO spindle_remover;
GRANT SELECT, INSERT, DELETE ON spindle_removed TO spindle_remover;
GRANT SELECT, INSERT, UPDATE ON spindle_loads TO spindle_remover;
GRANT SELECT ON spindle_progress TO spindle_remover;
GRANT INSERT ON spindle_events TO spindle_remover;
