"""What a test of whole services starts from: a vhost, a database and an empty graph of its own.

A test module imports the functions; the names that tests ask for are those in the decorators.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.broker import Broker
from tests.e2e.services import Services
from tests.e2e.sides import Graph, Side, Tables
from tests.servers import servers
from tests.servers.native import OwnServer


@pytest.fixture(name="services")
def services_of_a_test(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Services]:
    """Whatever service the test starts is killed at its end; where it fails, the logs are shown."""
    services, failed_before = Services(tmp_path), request.session.testsfailed
    try:
        yield services
    finally:
        services.end()
        if request.session.testsfailed > failed_before:
            print(services.report())


@pytest.fixture(name="broker")
def fresh_broker(rabbitmq: servers.RabbitMQ) -> Iterator[Broker]:
    """A vhost without a queue."""
    with servers.vhost_of_this_run(rabbitmq) as vhost:
        yield Broker(vhost.url)


@pytest.fixture(name="tables")
def empty_tables(postgres: servers.Postgres) -> Iterator[Tables]:
    """tableinator's side, on an empty database."""
    with servers.database_of_this_run(postgres) as database:
        yield Tables(database.dsn)


@pytest.fixture(name="graph")
def empty_graph(empty_neo4j: servers.Neo4j) -> Graph:
    """graphinator's side, on an empty graph."""
    return Graph(empty_neo4j)


@pytest.fixture(name="side", params=["tables", "graph"])
def each_side(request: pytest.FixtureRequest) -> Side:
    """Each service with its store in turn."""
    side: Side = request.getfixturevalue(request.param)
    return side


@pytest.fixture(name="mortal", params=["postgres", "neo4j"])
def each_mortal_side(request: pytest.FixtureRequest) -> tuple[Side, OwnServer]:
    """Each service with a store of the test's own, which may be stopped."""
    if request.param == "postgres":
        own_postgres = request.getfixturevalue("own_postgres")
        return Tables(own_postgres.dsn), own_postgres
    own_neo4j = request.getfixturevalue("own_neo4j")
    return Graph(own_neo4j), own_neo4j
