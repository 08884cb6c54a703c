"""The demo from end to end: native servers, services and extractor as processes, verified twice and damaged once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from common.kinds import KINDS
from devstack.demo.counters import scrape
from devstack.stack import postgres
from devstack.stack.native import SERVERS, SERVICES, NativeStack
from devstack.stack.service import metrics_url
from tests.integration import tables
from tests.servers.native import NativeRun, reason_against_native
from tests.servers.servers import in_thread

pytestmark = pytest.mark.timeout(600)

RECORDS = 1_000
STORES = ("postgresql", "neo4j")


@pytest.fixture(scope="module")
def stack(native_run: NativeRun) -> Iterator[NativeStack]:
    """The stack that these demos share, each with the data of the ones before."""
    if os.environ.get("TEST_SERVERS") == "containers":
        pytest.skip("TEST_SERVERS=containers forbids native servers")
    if reason := next(filter(None, map(reason_against_native, SERVERS)), None):
        pytest.skip(f"no native stack: {reason}")
    stack = native_run.stack("demo")
    yield stack
    stack.kill()
    stack.erase()


class Demo:
    """One run of the command, in a folder of its own."""

    def __init__(self, stack: NativeStack, folder: Path, *arguments: str) -> None:
        self._report = folder / "build/demo.json"
        command = [sys.executable, "-m", "devstack", "demo", "--stack", "native", "--home", str(stack.home)]
        self.process = subprocess.Popen(
            [*command, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait(self) -> tuple[int, dict[str, Any]]:
        """Wait for the end. Returns: exit code and report."""
        self.output, self.said = self.process.communicate(timeout=400.0)
        return self.process.returncode, json.loads(self._report.read_text())


def run_demo(stack: NativeStack, folder: Path, *arguments: str, one_month: bool = True) -> tuple[int, dict[str, Any]]:
    demo = Demo(stack, folder, *arguments, *(["--one-month"] if one_month else []))
    code, report = demo.wait()
    assert code in (0, 1), demo.said
    return code, report


def totals(report: Mapping[str, Any], store: str) -> dict[str, int]:
    """Outcomes of all kinds in a store, those that occurred."""
    names = ("new", "changed", "unchanged", "stale", "superseded", "dead_lettered")
    sums = {name: sum(report["kinds"][kind][store][name] for kind in KINDS) for name in names}
    return {name: count for name, count in sums.items() if count}


LOAD = ("--synthetic", str(RECORDS), "--seed", "21")  # in its third month an artist and a release are gone


@pytest.fixture(scope="module")
def first_run(stack: NativeStack, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    """Exit code and report of the first demo on this stack."""
    return run_demo(stack, tmp_path_factory.mktemp("first"), *LOAD)


def test_a_first_run_is_verified_with_all_records_new(first_run: tuple[int, dict[str, Any]]) -> None:
    code, report = first_run

    assert (code, report["verified"]) == (0, True)
    for store in STORES:
        assert totals(report, store) == {"new": RECORDS}
    for kind in KINDS:
        for part in report["kinds"][kind].values():
            assert (part["verified"], part["restarted"]) == (True, False)
            assert part["published"] == part["new"] > 0
            assert part["rate"] > 0
    assert all(edge["expected"] == edge["stored"] > 0 for edge in report["edges"].values())


@pytest.mark.usefixtures("first_run")
def test_a_second_run_writes_nothing_and_a_damaged_row_with_its_old_hash_is_not_verified(
    stack: NativeStack, tmp_path: Path
) -> None:
    """Faults 32 and 56."""
    dsn = postgres.dsn(stack.member("postgres").place)
    in_thread(tables.run(dsn, "UPDATE labels SET data = jsonb_set(data, '{name}', '\"X\"') WHERE data_id = '5'"))

    code, report = run_demo(stack, tmp_path, *LOAD)

    in_thread(tables.run(dsn, "DELETE FROM labels WHERE data_id = '5'"))  # for the next ones: nothing else fixes it
    assert (code, report["verified"]) == (1, False)
    for store in STORES:
        assert totals(report, store) == {"unchanged": RECORDS}
    unverified = [(kind, store) for kind in KINDS for store in STORES if not report["kinds"][kind][store]["verified"]]
    assert unverified == [("labels", "postgresql")]


@pytest.mark.usefixtures("first_run")
def test_the_next_month_writes_what_differs_and_the_demo_goes_on_and_removes_what_is_gone(
    stack: NativeStack, tmp_path: Path
) -> None:
    demo = Demo(stack, tmp_path, *LOAD, "--month", "1")
    code, report = demo.wait()

    later = report["next_month"]
    assert (code, report["verified"], later["verified"], later["refused"]) == (0, True, True, []), demo.said
    assert Path(later["report"]).exists()
    assert f"how that load went, and what limited it: {later['report']}\n" in demo.output
    for store in STORES:
        outcomes = totals(report, store)
        assert set(outcomes) == {"new", "changed", "unchanged"}
        assert 0 < outcomes["changed"] < RECORDS / 10
        parts = [part for part in later["parts"] if part["store"] == store]
        sums = {name: sum(part[name] for part in parts) for name in ("unchanged", "new", "changed", "removed")}
        assert all(sums.values()), sums
        assert sum(part["published"] for part in parts) == sums["new"] + sums["changed"] < RECORDS / 10
    assert later["verification"]["verified"]


def test_a_demo_is_verified_although_both_services_are_killed(stack: NativeStack, tmp_path: Path) -> None:
    stack.up(SERVERS, SERVICES)
    before = {service: settled(stack, service) for service in SERVICES}
    demo = Demo(stack, tmp_path, "--synthetic", "5000", "--seed", "3", "--load", "20270101", "--one-month")
    for service in ("tableinator", "graphinator"):  # the fast one first
        wait_until_settled(before[service] + 200, stack, service, demo)
        supervised(stack, service).kill()

    code, report = demo.wait()

    assert (code, report["verified"]) == (0, True), demo.said
    assert {store for store in STORES if report["kinds"]["releases"][store]["restarted"]} == set(STORES)


def test_an_interrupted_demo_ends_its_extractor_and_the_next_one_is_verified(
    stack: NativeStack, tmp_path: Path
) -> None:
    stack.up(SERVERS, SERVICES)
    before = settled(stack, "tableinator")
    arguments = ("--synthetic", "5000", "--seed", "20", "--load", "20270201", "--one-month")
    demo = Demo(stack, tmp_path, *arguments)
    wait_until_settled(before, stack, "tableinator", demo)
    extractor = psutil.Process(demo.process.pid).children(recursive=True)
    demo.process.send_signal(signal.SIGTERM)

    code, report = demo.wait()

    assert (code, report["verified"], report["failure"]) == (130, False, "interrupted")
    assert extractor
    assert not [process for process in extractor if is_alive(process)]

    code, report = run_demo(stack, tmp_path, *arguments, one_month=False)

    assert (code, report["verified"]) == (0, True)


def settled(stack: NativeStack, service: str) -> int:
    """How many records a service has settled since it was started."""
    found = scrape(metrics_url(stack.member(service).place))
    return sum(reading.value for reading in found.counters.values())


def is_alive(process: psutil.Process) -> bool:
    """Whether it still does anything; one that ended and was not waited for does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def supervised(stack: NativeStack, service: str) -> psutil.Process:
    """The service itself: its supervisor's child."""
    supervisor = stack.member(service).process
    assert supervisor is not None
    (child,) = psutil.Process(supervisor.pid).children()
    return child


def wait_until_settled(more_than: int, stack: NativeStack, service: str, demo: Demo) -> None:
    """Wait for what goes on in another process."""
    deadline = time.monotonic() + 120.0
    while settled(stack, service) <= more_than:
        assert demo.process.poll() is None, demo.wait()
        assert time.monotonic() < deadline
        time.sleep(0.05)
