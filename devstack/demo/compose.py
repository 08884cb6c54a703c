"""The stack as containers, by docker-compose.yml: what a demo must know of it."""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from common.kinds import Service
from devstack.demo.stacks import EXTRACTION, LOGGING
from devstack.stack.files import PROJECT
from devstack.stack.ports import LOOPBACK
from devstack.stack.recipe import StackFailed
from spindle.sources import Source

_ENGINE_SECONDS = 20.0
_PULL_SECONDS = 900.0
_BUILD_SECONDS = 1800.0
_UP_SECONDS = 600.0
_PROFILES = ("--profile", "load", "--profile", "tools")
"""Of what a demo runs beside the services: the extractor, and the operator's command."""
_METRICS = {Service.GRAPHINATOR: "8001", Service.TABLEINATOR: "8002"}


class ComposeServices:
    """The project's compose file, as the environment and `.env` adjust it."""

    name = "compose"

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def reason_against(self) -> str | None:
        """Return why the containers can't be had here; None if they can, and then every image is there."""
        if not (PROJECT / "docker-compose.yml").exists():
            return f"there is no docker-compose.yml in {PROJECT}"
        try:
            if _docker("version", limit=_ENGINE_SECONDS).returncode != 0:
                return "no container engine answers"
            if _docker("compose", "version", limit=_ENGINE_SECONDS).returncode != 0:
                return "the engine has no compose"
            return self._reason_against_images()
        except FileNotFoundError:
            return "there is no docker"
        except subprocess.TimeoutExpired as error:
            return f"`{' '.join(error.cmd)}` took longer than {error.timeout:.0f} s"

    def up(self) -> None:
        """Start what does not run yet, and wait until all of it is healthy."""
        self._say("starting the containers")
        done = _docker("compose", "up", "--detach", "--wait", limit=_UP_SECONDS)
        if done.returncode != 0:
            passwords = _docker("compose", "logs", "--no-log-prefix", "--tail", "4", "passwords", limit=_ENGINE_SECONDS)
            told = f"\n{_end(passwords)}" if 'service "passwords"' in _end(done) else ""
            raise StackFailed(f"docker compose up failed; see docker compose logs:\n{_end(done)}{told}")

    def environment(self) -> Mapping[str, str]:
        """Return where the stores' ports are published on this machine, and their passwords."""
        return {
            **_address("POSTGRES", _asked("port", "postgres", "5432")),
            "POSTGRES_PASSWORD": _asked("exec", "--no-TTY", "postgres", "cat", "/run/secrets/postgres/password"),
            **_address("NEO4J", _asked("port", "neo4j", "7687")),
            "NEO4J_PASSWORD": _asked("exec", "--no-TTY", "neo4j", "cat", "/run/secrets/neo4j/password"),
        }

    def processes(self) -> dict[str, str]:
        """Return the services' containers; there may be several of each."""
        done = _docker("compose", "ps", "--format", "json", limit=_ENGINE_SECONDS)
        # One object per line, or all in one list: that depends on the version of compose.
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
        containers: list[dict[str, Any]] = [
            each for line in lines for each in (line if isinstance(line, list) else [line])
        ]
        return {
            container["Name"]: f"http://{LOOPBACK}:{port}"
            for container in containers
            for publisher in container.get("Publishers") or ()
            if str(publisher["TargetPort"]) == _METRICS.get(container["Service"])
            and (port := publisher["PublishedPort"])
        }

    def extract(self, source: Source, *, report: IO[bytes], log: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Run the extractor's container once."""
        options = [option for name, value in LOGGING.items() for option in ("--env", f"{name}={value}")]
        options += ("--volume", f"{source.folder.resolve()}:/dumps:ro") if source.folder else ()
        folder = ("--dumps", "/dumps") if source.folder else ()
        command = ("docker", "compose", "run", "--rm", "--no-TTY", *options)
        return subprocess.Popen(  # noqa: S603  (the argument list is ours)
            [*command, "extractor", *folder, *source.arguments, *EXTRACTION],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=report,
            stderr=log,
        )

    def operate(self, *arguments: str, output: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Run its container once."""
        return subprocess.Popen(  # noqa: S603  (the argument list is ours)
            ["docker", "compose", "run", "--rm", "--no-TTY", "spindle", *arguments],  # noqa: S607
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
        )

    def found_at(self, path: str) -> str:
        """Name the volume that it lies in."""
        return f"{path}, in the volume `state`"

    def places(self) -> Sequence[tuple[str, str]]:
        """Return what the script says that `make up` ends with, too."""
        said = subprocess.run(  # noqa: S603  (our own script)
            [str(PROJECT / "deploy/places.sh")], capture_output=True, text=True, timeout=_ENGINE_SECONDS, check=False
        )
        lines = [line.partition("\t") for line in said.stdout.splitlines()]
        return [(name, place) for name, _, place in lines]

    def _reason_against_images(self) -> str | None:
        described = _docker("compose", *_PROFILES, "config", "--format", "json", limit=_ENGINE_SECONDS)
        if described.returncode != 0:
            return f"docker compose does not take the file: {_end(described)}"
        for name, service in json.loads(described.stdout)["services"].items():
            if "build" not in service and not self._has(service["image"]):
                return f"the image {service['image']} can't be had ({name.upper()}_IMAGE names another)"
        self._say("building the services' images")
        built = _docker("compose", *_PROFILES, "build", limit=_BUILD_SECONDS)
        return f"the services' images can't be built: {_end(built)}" if built.returncode != 0 else None

    def _has(self, image: str) -> bool:
        if _docker("image", "inspect", image, limit=_ENGINE_SECONDS).returncode == 0:
            return True
        self._say(f"pulling {image}")
        return _docker("pull", "--quiet", image, limit=_PULL_SECONDS).returncode == 0


def _asked(*arguments: str) -> str:
    """Ask compose for something that it prints."""
    done = _docker("compose", *arguments, limit=_ENGINE_SECONDS)
    if done.returncode != 0 or not done.stdout.strip():
        raise StackFailed(f"`docker compose {' '.join(arguments)}` says nothing: {_end(done)}")
    return done.stdout.strip()


def _address(server: str, published: str) -> dict[str, str]:
    host, _, port = published.rpartition(":")
    return {f"{server}_HOST": host, f"{server}_PORT": port}


def _docker(*arguments: str, limit: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603  (the argument list is ours)
        ["docker", *arguments],  # noqa: S607
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )


def _end(done: "subprocess.CompletedProcess[str]") -> str:
    return (done.stderr or done.stdout).strip()[-2000:]
