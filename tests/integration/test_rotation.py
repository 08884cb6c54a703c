"""A password that changes while a program runs: the new one stands in its file, and nothing is restarted."""

import secrets
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from neo4j import AsyncGraphDatabase

from common.errors import StartRefused, StoreUnavailable
from common.rabbitmq.connection import connect
from common.settings.environment import load
from common.settings.programs import BrokerSettings
from graphinator.settings import GraphinatorSettings
from graphinator.store import open_store
from tableinator.connections import Connections
from tableinator.settings import PostgresSettings
from tests.contract.proxy import cuttable_proxy
from tests.integration.graphs import address, record
from tests.servers.native import OwnNeo4j
from tests.servers.servers import Postgres, RabbitMQ


async def test_neo4j_is_written_to_with_the_new_password_as_soon_as_it_stands_in_the_file(
    own_neo4j: OwnNeo4j, tmp_path: Path
) -> None:
    """Fault 85."""
    file, new = tmp_path / "password", secrets.token_hex(8)
    file.write_text(own_neo4j.password)
    async with cuttable_proxy(*address(own_neo4j)) as proxy:
        environ = {"NEO4J_URI": f"bolt://127.0.0.1:{proxy.port}", "NEO4J_PASSWORD_FILE": str(file)}
        async with open_store(load(GraphinatorSettings, environ)) as store:
            sink = store.sink("artists")
            await sink.write([record("artists", "1")])
            await _change(own_neo4j, own_neo4j.password, new)
            try:
                assert (await sink.write([record("artists", "2")])).new == 1  # by the connection that is open
                proxy.cut()
                proxy.mend()
                pause = None
                while pause is None:  # the first failure may be that of the connection that was cut
                    with pytest.raises(StoreUnavailable) as outage:
                        await sink.write([record("artists", "3")])
                    pause = outage.value.pause
                assert pause == (30.0, 60.0)

                file.write_text(new)

                assert (await sink.write([record("artists", "3")])).new == 1
            finally:
                await _change(own_neo4j, new, own_neo4j.password)


async def test_postgresql_is_connected_to_with_the_password_that_stands_in_the_file(
    postgres: Postgres, tmp_path: Path
) -> None:
    """Fault 85."""
    role, file = f"rotating_{secrets.token_hex(4)}", tmp_path / "password"
    parts = urlsplit(postgres.dsn)
    admin = await asyncpg.connect(postgres.dsn)
    try:
        await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'first'")
        file.write_text("first")
        settings = load(
            PostgresSettings,
            {
                "POSTGRES_HOST": parts.hostname or "",
                "POSTGRES_PORT": str(parts.port),
                "POSTGRES_USERNAME": role,
                "POSTGRES_DATABASE": parts.path[1:],
                "POSTGRES_PASSWORD_FILE": str(file),
            },
        )
        async with Connections(settings, size=2) as connections, connections.transaction() as transaction:
            await admin.execute(f"ALTER ROLE {role} PASSWORD 'second'")
            await transaction.execute("SELECT 1")  # the connection that is open goes on
            with pytest.raises(asyncpg.InvalidPasswordError):
                await _use(connections)

            file.write_text("second")

            await _use(connections)
    finally:
        await admin.execute(f"DROP ROLE IF EXISTS {role}")
        await admin.close()


async def test_rabbitmq_is_connected_to_with_the_password_that_stands_in_the_file(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """Fault 85."""
    if not rabbitmq.management_url:
        pytest.skip("needs RabbitMQ's management API, to make a user")
    user, file, parts = f"rotating-{secrets.token_hex(4)}", tmp_path / "url", urlsplit(rabbitmq.url)

    def url(password: str) -> str:
        return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))

    try:
        rabbitmq.api("PUT", f"users/{user}", {"password": "first", "tags": ""})
        rabbitmq.api("PUT", f"permissions/{parts.path[1:]}/{user}", {"configure": "", "write": "", "read": ""})
        file.write_text(url("first"))
        settings = load(BrokerSettings, {"RABBITMQ_URL_FILE": str(file)})
        await (await connect(settings, name="test")).close()
        rabbitmq.api("PUT", f"users/{user}", {"password": "second", "tags": ""})
        with pytest.raises(StartRefused):
            await connect(settings, name="test")

        file.write_text(url("second"))

        await (await connect(settings, name="test")).close()
    finally:
        rabbitmq.api("DELETE", f"users/{user}")


async def _use(connections: Connections) -> None:
    async with connections.transaction() as transaction:
        await transaction.execute("SELECT 1")


async def _change(server: OwnNeo4j, old: str, new: str) -> None:
    async with AsyncGraphDatabase.driver(server.uri, auth=(server.username, old)) as driver:
        await driver.execute_query(
            "ALTER CURRENT USER SET PASSWORD FROM $old TO $new", {"old": old, "new": new}, database_="system"
        )
