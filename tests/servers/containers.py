"""Servers in containers, where an engine runs and has the images or can pull them."""

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from devstack.stack.processes import ProcessRef, identify, is_running
from tests.servers.servers import Neo4j, Postgres, RabbitMQ

_Container = TypeVar("_Container", bound="DockerContainer")

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

COMPOSE_FILE = Path(__file__).parents[2] / "docker-compose.yml"
OWNER = "spindle.test-run"  # the label that says which pytest process a container belongs to
PASSWORD = secrets.token_hex(16)
AMQPS = 5671  # exposed, for a test that has the broker listen there


def image(server: str) -> str:
    """Return the image that docker-compose.yml names, or the variable that it asks first."""
    variable = f"{server.upper()}_IMAGE"
    default = re.search(rf"\${{{variable}:-([^}}]+)}}", COMPOSE_FILE.read_text())
    assert default is not None, f"docker-compose.yml has no image: ${{{variable}:-…}}"
    return os.environ.get(variable) or default.group(1)


def has_container(server: str) -> bool:
    """Tell whether this server can run in a container here."""
    return has_image(image(server))


def has_image(name: str) -> bool:
    """Tell whether a container of this image can run here."""
    return _engine_runs() and _has_image(name)


def rabbitmq_image(version: str) -> str:
    """Return the image of another version (`4.0`): that of the compose file with another tag, or RABBITMQ_4_0_IMAGE."""
    named = os.environ.get(f"RABBITMQ_{version.replace('.', '_')}_IMAGE")
    return named or re.sub(r":\d[\d.]*(?=-|$)", f":{version}", image("rabbitmq"))


@contextmanager
def rabbitmq_container(name: str) -> "Iterator[tuple[RabbitMQ, DockerContainer]]":
    """Run a broker of this image."""
    from testcontainers.core.container import DockerContainer  # (its own RabbitMQ class needs one more client library)

    container = _owned(DockerContainer(name)).with_exposed_ports(5672, AMQPS, 15672)
    container.with_env("RABBITMQ_DEFAULT_USER", "spindle").with_env("RABBITMQ_DEFAULT_PASS", PASSWORD)
    with container:
        host = container.get_container_host_ip()
        amqp, management = container.get_exposed_port(5672), container.get_exposed_port(15672)
        broker = RabbitMQ(f"amqp://spindle:{PASSWORD}@{host}:{amqp}/%2F", f"http://{host}:{management}")
        _await_api(broker)
        yield broker, container


@contextmanager
def postgres_container() -> Iterator[Postgres]:
    """Run PostgreSQL."""
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer(
        image("postgres"), username="spindle", password=PASSWORD, dbname="spindle", driver=None
    )
    with _owned(container):
        yield Postgres(container.get_connection_url())


@contextmanager
def neo4j_container() -> Iterator[Neo4j]:
    """Run Neo4j."""
    from testcontainers.community.neo4j import Neo4jContainer

    container = Neo4jContainer(image("neo4j"), username="neo4j", password=PASSWORD)
    container.with_env("NEO4J_server_memory_heap_max__size", "1G")
    container.with_env("NEO4J_server_memory_pagecache_size", "256M")
    container.with_env("JDK_JAVA_OPTIONS", os.environ.get("JDK_JAVA_OPTIONS", ""))
    with _owned(container):
        yield Neo4j(container.get_connection_url(), "neo4j", PASSWORD)


def _await_api(broker: RabbitMQ) -> None:
    """Wait for the vhosts, and for the overview: a broker under load says 500 until its statistics stand."""
    deadline = time.monotonic() + 90.0
    while True:
        try:
            broker.api("GET", "health/checks/virtual-hosts")
            broker.api("GET", "overview")
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.3)
        else:
            return


@cache
def _engine_runs() -> bool:
    try:
        return _docker("version", timeout=10.0).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@cache
def _has_image(name: str) -> bool:
    if _docker("image", "inspect", name).returncode == 0:
        return True
    try:
        return _docker("pull", "-q", name, timeout=600.0).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _owned(container: _Container) -> _Container:
    """Mark a container as this run's; before, remove those of runs that were killed."""
    from testcontainers.core.config import testcontainers_config

    # Ryuk cleans up too, but its image can't be had everywhere.
    if not testcontainers_config.ryuk_disabled and not _has_image(testcontainers_config.ryuk_image):
        testcontainers_config.ryuk_disabled = True
    _remove_dead_runs()
    own = identify(os.getpid())
    assert own is not None
    return container.with_kwargs(labels={OWNER: json.dumps({"pid": own.pid, "started": own.started})})


@cache
def _remove_dead_runs() -> None:
    # A run of another machine that uses the same engine can't be told from a dead one here: one machine, one engine.
    listed = _docker("ps", "--all", "--filter", f"label={OWNER}", "--format", '{{.ID}} {{.Label "' + OWNER + '"}}')
    for line in listed.stdout.splitlines():
        container, _, owner = line.partition(" ")
        if not is_running(ProcessRef(**json.loads(owner))):
            _docker("rm", "--force", "--volumes", container)


def _docker(*arguments: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False)
