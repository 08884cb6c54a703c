"""Servers in containers, where an engine runs and has the images or can pull them."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from tests.servers import Neo4j, Postgres, RabbitMQ

IMAGES = {
    "rabbitmq": os.environ.get("TEST_RABBITMQ_IMAGE", "rabbitmq:4-management"),
    "postgres": os.environ.get("TEST_POSTGRES_IMAGE", "postgres:17"),
    "neo4j": os.environ.get("TEST_NEO4J_IMAGE", "neo4j:5.26-community"),
}
PASSWORD = "container-of-a-test-run"  # reachable on the loopback only, for as long as the run lasts


def has_container(server: str) -> bool:
    """Tell whether this server can run in a container here."""
    return _engine_runs() and _has_image(IMAGES[server])


@contextmanager
def rabbitmq_container() -> Iterator[RabbitMQ]:
    """Run a broker."""
    from testcontainers.core.container import DockerContainer  # (its own RabbitMQ class needs one more client library)

    _settle_ryuk()
    container = DockerContainer(IMAGES["rabbitmq"]).with_exposed_ports(5672, 15672)
    container.with_env("RABBITMQ_DEFAULT_USER", "spindle").with_env("RABBITMQ_DEFAULT_PASS", PASSWORD)
    with container:
        host = container.get_container_host_ip()
        amqp, management = container.get_exposed_port(5672), container.get_exposed_port(15672)
        broker = RabbitMQ(f"amqp://spindle:{PASSWORD}@{host}:{amqp}/%2F", f"http://{host}:{management}")
        _await_vhosts(broker)
        yield broker


@contextmanager
def postgres_container() -> Iterator[Postgres]:
    """Run PostgreSQL."""
    from testcontainers.community.postgres import PostgresContainer

    _settle_ryuk()
    container = PostgresContainer(
        IMAGES["postgres"], username="spindle", password=PASSWORD, dbname="spindle", driver=None
    )
    with container:
        yield Postgres(container.get_connection_url())


@contextmanager
def neo4j_container() -> Iterator[Neo4j]:
    """Run Neo4j."""
    from testcontainers.community.neo4j import Neo4jContainer

    _settle_ryuk()
    container = Neo4jContainer(IMAGES["neo4j"], username="neo4j", password=PASSWORD)
    container.with_env("NEO4J_server_memory_heap_max__size", "1G")
    container.with_env("NEO4J_server_memory_pagecache_size", "256M")
    with container:
        yield Neo4j(container.get_connection_url(), "neo4j", PASSWORD)


def _await_vhosts(broker: RabbitMQ) -> None:
    deadline = time.monotonic() + 90.0
    while True:
        try:
            broker.api("GET", "health/checks/virtual-hosts")
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.3)
        else:
            return


@cache
def _engine_runs() -> bool:
    try:
        return subprocess.run(["docker", "version"], capture_output=True, timeout=10.0).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@cache
def _has_image(name: str) -> bool:
    if subprocess.run(["docker", "image", "inspect", name], capture_output=True, timeout=30.0).returncode == 0:
        return True
    try:
        return subprocess.run(["docker", "pull", "-q", name], capture_output=True, timeout=600.0).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _settle_ryuk() -> None:
    """Do without the container that cleans up after a killed run, where its image can't be had."""
    from testcontainers.core.config import testcontainers_config

    if not testcontainers_config.ryuk_disabled and not _has_image(testcontainers_config.ryuk_image):
        testcontainers_config.ryuk_disabled = True
