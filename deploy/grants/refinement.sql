-- The login that refines (`spindle refine`), and the schema that it fills. Once, after the tables are made
-- (postgresql.sql, ledger.sql), as a superuser:
--   psql --single-transaction -v ON_ERROR_STOP=1 -d spindle -f deploy/grants/refinement.sql
-- and a password: \password spindle_refiner. Another database or schema: put its name for spindle, public or discogs.

CREATE ROLE spindle_refiner LOGIN;

GRANT CONNECT ON DATABASE spindle TO spindle_refiner;
GRANT USAGE ON SCHEMA public TO spindle_refiner;

GRANT SELECT ON artists, labels, masters, releases TO spindle_refiner;
GRANT SELECT, INSERT ON spindle_events TO spindle_refiner; -- a plan reads how fast earlier runs were

CREATE SCHEMA discogs AUTHORIZATION spindle_refiner;
-- If another login has refined already, instead: ALTER SCHEMA discogs OWNER TO spindle_refiner, and each of its tables likewise.

-- Titles and names are searched by trigrams if the database has the extension, else by words. Where the server has it:
-- CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;

-- Who reads the tables, also those that an upgrade will make again:
-- GRANT CONNECT ON DATABASE spindle TO reader;
-- GRANT USAGE ON SCHEMA discogs TO reader;
-- GRANT SELECT ON ALL TABLES IN SCHEMA discogs TO reader;
-- ALTER DEFAULT PRIVILEGES FOR ROLE spindle_refiner IN SCHEMA discogs GRANT SELECT ON TABLES TO reader;
