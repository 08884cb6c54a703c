"""The compose stack with a project, ports and passwords of a test run's own: a developer's stack is left alone.

Of the environment only the images (`RABBITMQ_IMAGE` and so on) and what docker itself reads count.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from common.kinds import Service
from common.settings.environment import Settings, variables
from common.settings.programs import ProgramSettings
from devstack.stack import ports
from extractor.settings import ExtractorSettings
from graphinator.settings import GraphinatorSettings
from spindle.settings import OperatorSettings
from tableinator.settings import TableinatorSettings

ROOT = Path(__file__).parents[2]
PROGRAMS: dict[str, type[ProgramSettings]] = {
    "graphinator": GraphinatorSettings,
    "tableinator": TableinatorSettings,
    "extractor": ExtractorSettings,
    "spindle": OperatorSettings,
}
_FURTHER: dict[str, tuple[type[Settings], ...]] = {
    "spindle": (GraphinatorSettings, TableinatorSettings, ExtractorSettings)
}
OWN = {
    r"(RABBITMQ|POSTGRES|NEO4J)_(HOST|PORT|USERNAME|PASSWORD|URL|DSN|URI)": "the stack's servers and their passwords",
    r"RABBITMQ_VHOST|(POSTGRES|NEO4J)_DATABASE": "those servers have no other",
    r"RABBITMQ_MANAGEMENT_URL|STATUS_\w+": "on this machine the addresses are others than within the network",
    r"METRICS_(HOST|PORT)": "Prometheus and the published port lead there",
    r"DOCTOR_DISK|SPINDLE_STATE": "a folder in the container",
    r"REMOVAL_\w+": "the login of somebody who may delete, which no container has by itself",
}
"""Settings (as patterns) that compose passes on to none of our programs, whatever the environment says, and why."""
PORTS = (
    "RABBITMQ_PORT",
    "RABBITMQ_MANAGEMENT_PORT",
    "POSTGRES_PORT",
    "NEO4J_PORT",
    "NEO4J_HTTP_PORT",
    "PROMETHEUS_PORT",
)
_REPLICAS = 6
_BUILT = ("--profile", "load", "--profile", "tools")  # (the images of other profiles can't be had everywhere)


# A Neo4j that lives for a test compiles nothing to the utmost, as everywhere in the tests.
_OVERRIDE = "services: { neo4j: { environment: { JDK_JAVA_OPTIONS: } } }\n"

_VARIABLES = set(re.findall(r"\$\{([A-Z0-9_]+)", (ROOT / "docker-compose.yml").read_text()))
_IMAGES = {name: os.environ[name] for name in _VARIABLES if name.endswith("_IMAGE") and os.environ.get(name)}


class ComposeFailed(Exception):
    """A command of docker's failed; the text is what it said."""


def settings_of(service: str) -> set[str]:
    """Name the variables that a program of ours reads."""
    models = (PROGRAMS[service], *_FURTHER.get(service, ()))
    return {name for model in models for name, _ in variables(model)}


def adjustable(service: str) -> set[str]:
    """Name those of them that compose passes on."""
    return {setting for setting in settings_of(service) if not any(re.fullmatch(own, setting) for own in OWN)}


def config(environ: Mapping[str, str] | None = None, profiles: tuple[str, ...] = ("--profile", "*")) -> dict[str, Any]:
    """Return docker-compose.yml as compose understands it, with these variables set."""
    said = _run("compose", "--env-file", os.devnull, *profiles, "config", "--format", "json", environ=environ)
    resolved: dict[str, Any] = json.loads(said)
    return resolved


def reason_against_config() -> str | None:
    """Return why the file can't be read here, or None if it can."""
    try:
        _run("compose", "version")
    except ComposeFailed as failure:
        return f"no docker compose: {failure}"
    return None


@cache
def reason_against_containers() -> str | None:
    """Return why the stack can't run here, or None if it can."""
    if os.environ.get("TEST_SERVERS") == "native":
        return "TEST_SERVERS=native forbids containers"
    try:
        _run("version")
        for image in _images():
            _have(image)
    except ComposeFailed as failure:
        return str(failure)
    return None


def check_out(folder: Path) -> Path:
    """Make a fresh clone, as it would be if everything here were committed. Returns: the folder."""
    listed = _run_program("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", timeout=60.0)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # (one that is deleted is listed until it is committed)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


class ComposeStack:
    """One project in a checkout of its own; `close` removes its containers, volumes and images."""

    def __init__(self, name: str, checkout: Path) -> None:
        self.name = name
        self.checkout = checkout
        (checkout / "docker-compose.override.yml").write_text(_OVERRIDE)
        self.ports = ports.choose(PORTS)
        # Not 0, by which the engine gives a port that an outgoing connection of another test may have at that moment.
        self._replicas = ports.choose([f"{service.upper()}_METRICS_PORT" for service in Service], width=_REPLICAS)
        self.environ = {
            **{name: str(port) for name, port in self.ports.items()},
            **{name: f"{first}-{first + _REPLICAS - 1}" for name, first in self._replicas.items()},
            **_IMAGES,
            "COMPOSE_PROJECT_NAME": name,
            "COMPOSE_ENV_FILES": os.devnull,
        }

    def compose(self, *arguments: str, timeout: float = 180.0, **environ: str) -> str:
        """Run a command of compose and return what it printed."""
        return self.run("docker", "compose", *arguments, timeout=timeout, **environ)

    def run(self, *argv: str, timeout: float, **environ: str) -> str:
        """Run a program as the stack's owner would, in the checkout, and return what it printed."""
        return _run_program(*argv, environ={**self.environ, **environ}, timeout=timeout, folder=self.checkout)

    def inspect(self) -> list[dict[str, Any]]:
        """Describe the containers, stopped ones too."""
        ids = self.compose("ps", "--all", "--quiet").split()
        described: list[dict[str, Any]] = json.loads(_run("inspect", *ids))
        return described

    def docker(self, *arguments: str, timeout: float = 60.0) -> str:
        """Run a command of the engine's and return what it printed."""
        return _run(*arguments, timeout=timeout)

    def devstack(self, *arguments: str, timeout: float = 900.0) -> str:
        """Run the command for development on this machine, for this project, and return what it printed."""
        return self.run(sys.executable, "-m", "devstack", *arguments, timeout=timeout)

    def images(self) -> dict[str, dict[str, Any]]:
        """Describe the images that were built for this project, by service."""
        names = [f"{self.name}-{program}" for program in PROGRAMS]
        described: list[dict[str, Any]] = json.loads(_run("image", "inspect", *names))
        return dict(zip(PROGRAMS, described, strict=True))

    def password(self, server: str) -> str:
        """Return a server's password, whether it runs or not.

        Raises: ComposeFailed, also if there is none.
        """
        volume, image = f"{self.name}_{server}-password", f"{self.name}-passwords"
        _run("volume", "inspect", volume)  # (otherwise it would be made)
        # Copied from a container that never runs: what one prints is lost now and then if it ends at once.
        container = _run("create", "--volume", f"{volume}:/volume:ro", image).strip()
        try:
            with tarfile.open(fileobj=io.BytesIO(_run_for_bytes("cp", f"{container}:/volume/password", "-"))) as copied:
                file = copied.extractfile("password")
                password = file.read().decode().strip() if file is not None else ""
        finally:
            _run("rm", "--force", container)
        if not password:
            raise ComposeFailed(f"the volume {volume} holds an empty password")
        return password

    def close(self) -> None:
        """Leave nothing behind."""
        self.compose("--profile", "*", "down", "--volumes", "--rmi", "local", "--remove-orphans", "--timeout", "2")
        ports.release(self.ports.values())
        ports.release(port for first in self._replicas.values() for port in range(first, first + _REPLICAS))


def service_of(container: dict[str, Any]) -> str:
    """Name the service of an inspected container."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def _images() -> list[str]:
    services = config(_IMAGES, _BUILT)["services"].values()
    bases = {service["build"]["args"]["PYTHON_IMAGE"] for service in services if "build" in service}
    return sorted(bases | {service["image"] for service in services if "image" in service})


def inherited() -> dict[str, str]:
    """This process's environment without what compose or our own settings would take from it."""
    ours = _VARIABLES.union(*map(settings_of, PROGRAMS))
    return {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("COMPOSE_")}


def _have(image: str) -> None:
    try:
        _run("image", "inspect", image)
    except ComposeFailed:
        _run("pull", "--quiet", image, timeout=600.0)


def _run(*arguments: str, environ: Mapping[str, str] | None = None, timeout: float = 60.0) -> str:
    return _run_program("docker", *arguments, environ=environ, timeout=timeout)


def _run_for_bytes(*arguments: str) -> bytes:
    return _run_anything("docker", *arguments, environ=None, timeout=60.0, folder=ROOT)


def _run_program(*argv: str, environ: Mapping[str, str] | None = None, timeout: float, folder: Path = ROOT) -> str:
    return _run_anything(*argv, environ=environ, timeout=timeout, folder=folder).decode()


def _run_anything(*argv: str, environ: Mapping[str, str] | None, timeout: float, folder: Path) -> bytes:
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            env={**inherited(), **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ComposeFailed(str(error)) from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise ComposeFailed(f"{' '.join(argv[:4])} … exit {done.returncode}: {said}")
    return done.stdout
