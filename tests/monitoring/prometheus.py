"""A real Prometheus and its promtool: in a container where an engine has the image, else an installed one."""

import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devstack.stack.ports import LOOPBACK, choose
from devstack.stack.processes import identify
from tests.servers import containers

_READY_LIMIT = 30.0  # seconds
_OF_COMPOSE = "--enable-feature=created-timestamp-zero-ingestion"  # as docker-compose.yml says; ignored before 3.0
_OTHERWISE = "neither an engine with the image nor an installed one (Debian: prometheus)"


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """Evaluate an expression at a time, or now.

        Args:
            expression: it has to give a vector.
            at: seconds of Unix time.

        Returns: a dict per series, with `metric` (labels) and `value` (time, text).
        """
        time_of = {} if at is None else {"time": f"{at:.3f}"}
        answer = self._get("query", query=expression, **time_of)
        assert answer["resultType"] == "vector", f"{expression} is a {answer['resultType']}"
        series: list[dict[str, Any]] = answer["result"]
        return series

    def counts_from_birth(self) -> bool:
        """Whether it takes a counter's time of birth for a sample of 0."""
        return int(self._get("status/buildinfo")["version"].partition(".")[0]) >= 3

    def names(self) -> set[str]:
        """The names of all series that it has."""
        return set(self._get("label/__name__/values"))

    def alerts(self) -> dict[str, set[str]]:
        """The alerts that are not inactive: their states by name."""
        states: dict[str, set[str]] = {}
        for alert in self._get("alerts")["alerts"]:
            states.setdefault(alert["labels"]["alertname"], set()).add(alert["state"])
        return states

    def unhealthy(self) -> dict[str, str]:
        """What the last evaluation of a rule, and the last scrape of a target, failed with."""
        rules = [rule for group in self._get("rules")["groups"] for rule in group["rules"]]
        targets = self._get("targets")["activeTargets"]
        failed = {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")}
        return failed | {target["scrapeUrl"]: target["lastError"] for target in targets if target["lastError"]}

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10.0) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters or path}: {error.read().decode()}") from error


@contextmanager
def running(config: Path) -> Iterator[Prometheus]:
    """Run it with a configuration file, whose folder it can read; skip the test where that is impossible."""
    port = choose(["prometheus"])["prometheus"]
    options = [f"--web.listen-address={LOOPBACK}:{port}", "--storage.tsdb.retention.time=1d", "--log.level=warn"]
    options.append(_OF_COMPOSE)
    if _has_image():
        with _container(config, [*options, "--storage.tsdb.path=/prometheus"]) as log:
            yield _ready(port, log)
    elif installed := shutil.which("prometheus"):
        with _process([installed, *options, f"--config.file={config}"], config.parent) as log:
            yield _ready(port, log)
    else:
        pytest.skip(f"no Prometheus: {_OTHERWISE}")


def promtool(*arguments: str, folder: Path, given: str = "") -> str:
    """Run promtool in a folder, with this as its standard input. Returns: what it said; fails where it finds fault."""
    if _has_image():
        mounted = ["--volume", f"{folder}:{folder}:ro", "--workdir", str(folder), "--network", "none"]
        argv = ["docker", "run", "--rm", "--interactive", *mounted, "--entrypoint", "promtool", _image(), *arguments]
    elif installed := shutil.which("promtool"):
        argv = [installed, *arguments]
    else:
        pytest.skip(f"no promtool: {_OTHERWISE}")
    done = subprocess.run(argv, input=given, capture_output=True, text=True, timeout=120.0, cwd=folder, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def _image() -> str:
    return containers.image("prometheus")


def _has_image() -> bool:
    return os.environ.get("TEST_SERVERS") != "native" and containers.has_container("prometheus")


def _ready(port: int, log: Callable[[], str]) -> Prometheus:
    url, deadline = f"http://{LOOPBACK}:{port}", time.monotonic() + _READY_LIMIT
    while True:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=2.0):
                return Prometheus(url)
        except OSError:
            assert time.monotonic() < deadline, f"Prometheus was not ready within {_READY_LIMIT:g} s: {log()}"
            time.sleep(0.1)


@contextmanager
def _container(config: Path, options: Sequence[str]) -> Iterator[Callable[[], str]]:
    # On the host's network, so that it reaches what listens on the loopback.
    own = identify(os.getpid())
    assert own is not None
    owner = json.dumps({"pid": own.pid, "started": own.started})
    name = f"spindle-test-prometheus-{secrets.token_hex(4)}"
    place = ["--network", "host", "--volume", f"{config.parent}:/etc/prometheus:ro"]
    argv = ["run", "--detach", "--name", name, "--label", f"{containers.OWNER}={owner}", *place, _image()]
    try:
        _docker(*argv, f"--config.file=/etc/prometheus/{config.name}", *options)
        yield lambda: _docker("logs", name)
    finally:
        _docker("rm", "--force", "--volumes", name)


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], timeout=60.0, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@contextmanager
def _process(argv: Sequence[str], folder: Path) -> Iterator[Callable[[], str]]:
    log = folder / "prometheus.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*argv, f"--storage.tsdb.path={folder}/data"], stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        yield log.read_text
    finally:
        process.kill()
        process.wait(timeout=10.0)
