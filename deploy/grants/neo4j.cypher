// Neo4j logins of their own. Once, as an administrator, with a password for each parameter:
//   cypher-shell -u neo4j -d system -P "{setup: '…', graphinator: '…', operator: '…', remover: '…'}" -f deploy/grants/neo4j.cypher
//
// The community edition has no roles: there each of these may do everything, and all that is won is a login that can be
// suspended, changed and told apart in the log by itself.

CREATE USER spindle_setup IF NOT EXISTS SET PASSWORD $setup CHANGE NOT REQUIRED; // graphinator's first start: constraints
CREATE USER spindle_graphinator IF NOT EXISTS SET PASSWORD $graphinator CHANGE NOT REQUIRED; // from then on, and doctor
CREATE USER spindle_operator IF NOT EXISTS SET PASSWORD $operator CHANGE NOT REQUIRED; // verify, dead-letters replay, check, loads, pause
CREATE USER spindle_remover IF NOT EXISTS SET PASSWORD $remover CHANGE NOT REQUIRED; // remove

// Enterprise edition, without the slashes. Not tried on one: the tests see that the server can read each line, no more.
// CREATE ROLE spindle_writing IF NOT EXISTS;
// GRANT ACCESS ON DATABASE neo4j TO spindle_writing;
// GRANT MATCH {*} ON GRAPH neo4j TO spindle_writing;
// GRANT WRITE ON GRAPH neo4j TO spindle_writing;
// GRANT NAME MANAGEMENT ON DATABASE neo4j TO spindle_writing;
// GRANT SHOW CONSTRAINT ON DATABASE neo4j TO spindle_writing;
// GRANT SHOW INDEX ON DATABASE neo4j TO spindle_writing;
// CREATE ROLE spindle_making IF NOT EXISTS;
// GRANT CREATE CONSTRAINT ON DATABASE neo4j TO spindle_making;
// CREATE ROLE spindle_reading IF NOT EXISTS;
// GRANT ACCESS ON DATABASE neo4j TO spindle_reading;
// GRANT MATCH {*} ON GRAPH neo4j TO spindle_reading;
// GRANT CREATE ON GRAPH neo4j NODES SpindleLoad, SpindlePause TO spindle_reading;
// GRANT SET PROPERTY {*} ON GRAPH neo4j NODES SpindleLoad, SpindlePause TO spindle_reading;
// GRANT NAME MANAGEMENT ON DATABASE neo4j TO spindle_reading;
// GRANT ROLE spindle_writing, spindle_making TO spindle_setup;
// GRANT ROLE spindle_writing TO spindle_graphinator;
// GRANT ROLE spindle_writing TO spindle_remover;
// GRANT ROLE spindle_reading TO spindle_operator;
