"""Which versions the servers and peers of a run have, as they say themselves."""

import asyncpg
from neo4j import AsyncGraphDatabase
from pydantic import SecretStr

from bench.servers import Addresses
from common.rabbitmq.connection import connected
from common.settings.programs import BrokerSettings

# Neo4j 2026 names its languages beside itself.
_NEO4J_VERSION = "CALL dbms.components() YIELD name, versions WHERE name = 'Neo4j Kernel' RETURN versions[0]"


async def versions(addresses: Addresses) -> dict[str, str]:
    """Ask each server that there is."""
    found = {}
    if addresses.rabbitmq_url:
        async with connected(BrokerSettings(url=SecretStr(addresses.rabbitmq_url)), name="bench") as connection:
            found["rabbitmq"] = ".".join(map(str, connection.broker_version))
    if addresses.postgres_dsn:
        tables = await asyncpg.connect(addresses.postgres_dsn, timeout=10)
        found["postgres"] = str(await tables.fetchval("SHOW server_version"))
        await tables.close(timeout=5)
    if addresses.neo4j_uri:
        auth = (addresses.neo4j_username, addresses.neo4j_password)
        async with AsyncGraphDatabase.driver(addresses.neo4j_uri, auth=auth) as driver, driver.session() as session:
            asked = await session.run(_NEO4J_VERSION)
            found["neo4j"] = str((await asked.single(strict=True))[0])
    return found
