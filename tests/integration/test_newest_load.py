"""Which load each store has seen last."""

import asyncpg
from neo4j import GraphDatabase

from common.kinds import KINDS
from common.settings.environment import load
from graphinator.ops.newest_load import newest_load as newest_in_graph
from graphinator.settings import Neo4jSettings
from tableinator.ops.newest_load import newest_load as newest_in_tables
from tableinator.settings import PostgresSettings
from tests.servers import servers
from tests.servers.servers import Neo4j, Postgres


async def test_the_tables_tell_their_newest_load(postgres: Postgres) -> None:
    with servers.database_of_this_run(postgres) as database:
        settings = load(PostgresSettings, {"POSTGRES_DSN": database.dsn})
        without_tables = await newest_in_tables(settings, KINDS)
        connection = await asyncpg.connect(database.dsn)
        await connection.execute(
            "CREATE TABLE labels (data_id text, version text);"
            "INSERT INTO labels VALUES ('1', '20260301'), ('2', '20260401'), ('3', 'latest'), ('4', NULL), "
            "('5', '20269999')"
        )
        await connection.close()

        assert without_tables is None
        assert await newest_in_tables(settings, ["artists", "labels"]) == "20260401"


async def test_the_graph_tells_its_newest_load(empty_neo4j: Neo4j) -> None:
    settings = load(
        Neo4jSettings,
        {
            "NEO4J_URI": empty_neo4j.uri,
            "NEO4J_USERNAME": empty_neo4j.username,
            "NEO4J_PASSWORD": empty_neo4j.password,
        },
    )
    before = await newest_in_graph(settings, KINDS)
    with GraphDatabase.driver(empty_neo4j.uri, auth=(empty_neo4j.username, empty_neo4j.password)) as driver:
        driver.execute_query(
            "CREATE (:Label {id: '1', load: '20260301'}), (:Artist {id: '2', load: '20260401'}), (:Artist {id: '3'}), "
            "(:Label {id: '4', load: '20269999'})"
        )

    assert before is None
    assert await newest_in_graph(settings, KINDS) == "20260401"
    assert await newest_in_graph(settings, ["labels"]) == "20260301"
