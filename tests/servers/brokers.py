"""RabbitMQ in each version that the sources are made for: where each comes from, and an operator's hands on it."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from devstack.stack.ports import choose
from devstack.stack.rabbitmq import PROGRAM
from devstack.stack.recipe import Place
from tests.servers import containers, native
from tests.servers.servers import RabbitMQ

_NAMED = re.findall(r":(\d+\.\d+)", os.environ.get("RABBITMQ_IMAGE", ""))

VERSIONS = tuple(dict.fromkeys(("3.10", "4.0", "4.3", *_NAMED)))
"""The oldest, which is Debian 12's; the first with a delivery limit by default; the first that cancels a consumer where
others close its channel. And the one of RABBITMQ_IMAGE, such as 3.13 or 4.2 in a matrix."""


@dataclass(frozen=True, slots=True)
class Broker(RabbitMQ):
    """A broker of this run's."""

    control: tuple[str, ...] = ()
    """The command that runs `rabbitmqctl` where the broker is."""
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/tmp"
    """Where the broker can read and write."""
    tls_port: int = 0
    """Free for a listener of the broker's."""
    tls_place: str = ""
    """Host and port under which such a listener is reached."""

    def rabbitmqctl(self, *arguments: str) -> str:
        """Do what an operator would on the broker's machine. Returns: what was printed."""
        done = subprocess.run(
            [*self.control, *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60.0,
            check=False,
        )
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout


def native_broker(place: Place) -> Broker:
    """Describe a native broker."""
    plain = native.rabbitmq_at(place)
    environment = {
        "HOME": str(place.folder),
        "ERL_EPMD_PORT": str(place.ports["epmd"]),
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_CONF_ENV_FILE": str(place.folder / "rabbitmq-env.conf"),
    }
    control = (str(PROGRAM.with_name("rabbitmqctl")),)
    port = choose(["tls"])["tls"]
    folder = str(place.folder)
    return Broker(plain.url, plain.management_url, control, environment, folder, port, f"127.0.0.1:{port}")


@contextmanager
def container_broker(image: str) -> Iterator[Broker]:
    """Run a broker in a container."""
    with containers.rabbitmq_container(image) as (plain, container):
        control = ("docker", "exec", container.get_wrapped_container().id, "rabbitmqctl")
        place = f"{container.get_container_host_ip()}:{container.get_exposed_port(containers.AMQPS)}"
        yield Broker(plain.url, plain.management_url, control, tls_port=containers.AMQPS, tls_place=place)


def set_environment(broker: Broker, **variables: int) -> None:
    """Set what a broker takes from its configuration."""
    broker.rabbitmqctl(
        "eval", ", ".join(f"application:set_env(rabbit, {name}, {value})" for name, value in variables.items()) + "."
    )


@contextmanager
def impatient(broker: RabbitMQ, *, after: float, tick: float) -> Iterator[Broker]:
    """Have a broker take deliveries back after so many seconds; it looks every `tick` seconds."""
    if not isinstance(broker, Broker):
        pytest.skip("a broker that the environment names is not to be reconfigured")
    set_environment(broker, consumer_timeout=round(1000 * after), channel_tick_interval=round(1000 * tick))
    try:
        yield broker
    finally:
        set_environment(broker, consumer_timeout=1_800_000, channel_tick_interval=60_000)


def version_of(broker: RabbitMQ) -> str:
    """Ask for the version, as in VERSIONS; empty if the broker has no management API."""
    if not broker.management_url:
        return ""
    return ".".join(str(broker.api("GET", "overview")["rabbitmq_version"]).split(".")[:2])


def native_version() -> str:
    """The version that is installed on this machine; empty if none is."""
    for folder in (PROGRAM.parents[1] / "lib").glob("rabbitmq_server-*"):
        return ".".join(folder.name.partition("-")[2].split(".")[:2])
    return ""
