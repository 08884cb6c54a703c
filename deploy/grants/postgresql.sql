-- PostgreSQL logins that may do no more than they need. Once, as a superuser, in the database that the tables are in:
--   psql --single-transaction -v ON_ERROR_STOP=1 -d spindle -f deploy/grants/postgresql.sql
-- and a password for each: \password spindle_tableinator. Another database or schema: put its name for spindle or public.

CREATE ROLE spindle_setup LOGIN; -- tableinator's first start, which makes the tables
CREATE ROLE spindle_tableinator LOGIN; -- tableinator from then on, and doctor
CREATE ROLE spindle_operator LOGIN; -- verify, check, loads, pause, and dead-letters replay, which looks for the newest load

-- Of a new database everybody may connect and make temporary tables, up to PostgreSQL 14 also any table.
REVOKE ALL ON DATABASE spindle FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

GRANT CONNECT ON DATABASE spindle TO spindle_setup;
GRANT CONNECT ON DATABASE spindle TO spindle_tableinator;
GRANT CONNECT ON DATABASE spindle TO spindle_operator;

GRANT USAGE, CREATE ON SCHEMA public TO spindle_setup;
GRANT USAGE ON SCHEMA public TO spindle_tableinator;
GRANT USAGE ON SCHEMA public TO spindle_operator;

-- Of the tables that spindle_setup will make.
ALTER DEFAULT PRIVILEGES FOR ROLE spindle_setup IN SCHEMA public GRANT SELECT, INSERT, UPDATE ON TABLES TO spindle_tableinator;
ALTER DEFAULT PRIVILEGES FOR ROLE spindle_setup IN SCHEMA public GRANT SELECT ON TABLES TO spindle_operator;

-- Where another login has made them already, these do the same:
-- GRANT SELECT, INSERT, UPDATE ON artists, labels, masters, releases TO spindle_tableinator;
-- GRANT SELECT, INSERT, UPDATE ON spindle_loads, spindle_progress, spindle_errors TO spindle_tableinator;
-- GRANT INSERT ON spindle_events TO spindle_tableinator;
-- GRANT SELECT ON spindle_pauses TO spindle_tableinator;
-- GRANT SELECT ON artists, labels, masters, releases TO spindle_operator;
-- GRANT SELECT, INSERT, UPDATE ON spindle_loads, spindle_pauses TO spindle_operator;
-- GRANT SELECT ON spindle_progress, spindle_errors TO spindle_operator;
-- GRANT INSERT ON spindle_events TO spindle_operator;
