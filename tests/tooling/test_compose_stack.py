"""The containers themselves: built, started, loaded, scaled, killed, taken down and started again.

Where no engine runs, skipped. SPINDLE_COMPOSE_RECORDS makes the loads larger than a run of all tests affords, and
SPINDLE_OUTAGE_SECONDS the outage longer than the alert needs to fire. What was measured goes to build/compose.json.
"""

import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from common import VERSION
from common.kinds import Service
from tests.servers.compose import PROGRAMS, ROOT, ComposeStack, check_out, reason_against_containers, service_of
from tests.servers.composed import (
    Replica,
    alerts,
    dead_letters,
    extract,
    kill,
    outcomes,
    replicas,
    settled,
    targets,
    until,
    until_drained,
    verify,
)

pytestmark = [pytest.mark.timeout(2700), pytest.mark.usefixtures("stack")]

RECORDS = int(os.environ.get("SPINDLE_COMPOSE_RECORDS", "3000"))
WAVE = max(RECORDS, 6000)
"""Records of a load that something must happen in the middle of."""
OUTAGE = float(os.environ.get("SPINDLE_OUTAGE_SECONDS", "1"))
UP = ("up", "--detach", "--wait", "--wait-timeout", "300")
STORE_ALERT = "SpindleStoreUnavailable"
LOSS = "docker compose run --rm --no-deps neo4j rm -rf /data/databases/neo4j /data/transactions/neo4j"
WITH_PASSWORDS = ("rabbitmq", "postgres", "neo4j", "grafana")

# Each changes every record of the one before, except the last, which is the same a month later.
FIRST = ("--synthetic", f"{RECORDS}", "--seed", "7")
SCALED = ("--synthetic", f"{WAVE}", "--seed", "8", "--load", "20300101")
OUT = ("--synthetic", f"{WAVE}", "--seed", "9", "--load", "20300201")
OUT_AND_LATER = ("--synthetic", f"{WAVE}", "--seed", "9", "--month", "1", "--load", "20300301")

# Run inside of a container: what could somebody do who had taken over the process?
PROBE = """
import json, os, pathlib
def can_write(folder):
    try:
        pathlib.Path(folder, "probe").write_text("")
    except OSError:
        return False
    return True
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "uid": os.getuid(),
    "writable": [path for path in ("/", "/app", "/opt/spindle", "/tmp", "/run/secrets") if can_write(path)],
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "may gain privileges": status["NoNewPrivs"].strip() == "0",
}))
"""


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[str, Any]]:
    """What is worth telling, by what it is about."""
    facts: dict[str, Any] = {}
    yield facts
    report = ROOT / "build/compose.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(facts, indent=2) + "\n")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, measured: dict[str, Any]) -> Iterator[ComposeStack]:
    """The stack, up and healthy, of a name and with ports of its own: a fresh clone, and one command."""
    reason = reason_against_containers()
    if reason is not None:
        pytest.skip(reason)
    stack = ComposeStack(f"spindle-test-{secrets.token_hex(4)}", check_out(tmp_path_factory.mktemp("compose")))
    try:
        began = time.monotonic()
        stack.compose("up", "--detach", "--wait", timeout=600.0)  # as a user would, and nothing before it
        measured["first_up_seconds"] = _since(began)
        stack.compose("--profile", "load", "--profile", "tools", "build", timeout=400.0)
        yield stack
    finally:
        stack.close()


def test_every_container_is_healthy(stack: ComposeStack) -> None:
    states = {service_of(container): container["State"] for container in stack.inspect()}
    passwords = states.pop("passwords")

    assert (passwords["Status"], passwords["ExitCode"]) == ("exited", 0)
    assert {name: state["Health"]["Status"] for name, state in states.items()} == dict.fromkeys(
        ("rabbitmq", "postgres", "neo4j", "prometheus", *Service), "healthy"
    )


def test_the_images_say_what_they_are(stack: ComposeStack, measured: dict[str, Any]) -> None:
    images = stack.images()
    measured["image_megabytes"] = {name: round(image["Size"] / 1e6) for name, image in images.items()}

    for name, image in images.items():
        labels = {key.rpartition(".")[2]: value for key, value in image["Config"]["Labels"].items()}
        assert (labels["title"], labels["version"], labels["licenses"]) == (name, VERSION, "MIT")
        assert {"description", "revision", "source"} <= set(labels)
        assert image["Config"]["User"] == "10001:10001"
    assert [name for name in PROGRAMS if "Healthcheck" in images[name]["Config"]] == [*Service]


@pytest.mark.parametrize("name", Service)
def test_a_service_has_no_rights(stack: ComposeStack, measured: dict[str, Any], name: str) -> None:
    found = json.loads(stack.compose("exec", "-T", name, "python", "-c", PROBE))

    measured.setdefault("rights", {})[name] = found
    assert found == {"uid": 10001, "writable": ["/tmp"], "capabilities": 0, "may gain privileges": False}


def test_make_up_ends_with_what_runs_where_and_what_to_type_next(stack: ComposeStack, measured: dict[str, Any]) -> None:
    began = time.monotonic()
    said = stack.run("make", "--no-print-directory", "up", timeout=600.0)

    measured["make_up_again_seconds"] = _since(began)
    places = dict(re.split(r"  +", line, maxsplit=1) for line in said.splitlines() if "  " in line)
    local = {name: f"127.0.0.1:{port}" for name, port in stack.ports.items()}
    assert places["RabbitMQ"] == f"http://{local['RABBITMQ_MANAGEMENT_PORT']} (user spindle)"
    assert places["PostgreSQL"] == f"{local['POSTGRES_PORT']}, database spindle (user spindle)"
    assert places["Neo4j"] == f"http://{local['NEO4J_HTTP_PORT']}, bolt://{local['NEO4J_PORT']} (user neo4j)"
    assert places["Prometheus"].startswith(f"http://{local['PROMETHEUS_PORT']}, ")
    assert places["Grafana"] == "off; it starts with COMPOSE_PROFILES=dashboards in .env and make up"
    for service in Service:
        [replica] = replicas(stack, service)
        assert places[f"{stack.name}-{service}-1"] == f"{replica.url}/metrics"
    shown = places["passwords"].partition(" (")[0]
    assert stack.run(*shown.split(), timeout=60.0).strip() == stack.password("rabbitmq")
    assert places["load"].startswith("docker compose run --rm extractor --synthetic ")


def test_a_stop_drains_and_passwords_survive_down_and_up(stack: ComposeStack, measured: dict[str, Any]) -> None:
    passwords = {server: stack.password(server) for server in WITH_PASSWORDS}
    published = extract(stack, *FIRST)
    until_drained(stack)
    first = _outcomes(stack)
    stack.compose("stop")
    codes = {service_of(each): each["State"]["ExitCode"] for each in stack.inspect()}
    stack.compose("down")
    stack.compose(*UP, timeout=400.0)

    measured["load"] = {"published": published, "first": first}
    assert first == {service: {"new": published} for service in Service}
    assert [codes[service] for service in Service] == [0, 0]  # drained, not killed
    assert {server: stack.password(server) for server in WITH_PASSWORDS} == passwords


def test_a_demo_after_down_and_up_writes_nothing_twice_and_goes_on_with_the_month_after(
    stack: ComposeStack, measured: dict[str, Any], tmp_path: Path
) -> None:
    """Fault 32: the same load as before."""
    said = stack.devstack("demo", "--stack", "compose", *FIRST, "--json", "--report", str(tmp_path / "demo.json"))

    demo = json.loads(said)
    assert (demo["verified"], demo["stack"]) == (True, "compose")
    for kind in demo["kinds"].values():
        assert {store["unchanged"] for store in kind.values()} == {store["published"] for store in kind.values()}
    assert sum(kind["postgresql"]["published"] for kind in demo["kinds"].values()) == measured["load"]["published"]
    later = demo["next_month"]
    assert (later["verified"], later["refused"]) == (True, [])
    assert all(sum(part[name] for part in later["parts"]) for name in ("new", "changed", "unchanged", "removed"))


def test_both_stores_are_dumped_lost_and_restored_with_their_ledgers_by_the_documents_commands(
    stack: ComposeStack, measured: dict[str, Any]
) -> None:
    [dump_tables, restore_tables], [dump_graph, restore_graph, _] = documented("PostgreSQL"), documented("Neo4j")
    began, ledgers = time.monotonic(), _ledgers(stack)
    # Lost while it is stopped, so that no other start is needed. The other database needs no loss: it is put aside, and
    # a fresh one is restored into.
    dump_and_loss = dump_graph.replace("docker compose start", f"{LOSS}\ndocker compose start")
    assert LOSS in dump_and_loss
    _type(stack, dump_and_loss, dump_tables)

    _type(stack, restore_graph, restore_tables)
    until(lambda: all(_statuses(replicas(stack, service)) == {200} for service in Service), "ready")

    restored, found = _ledgers(stack), verify(stack, *FIRST, "--month", "1")
    measured["restored_seconds"] = _since(began)
    assert restored == ledgers
    assert {(each["service"], each["state"]) for each in ledgers if each["load"] == ledgers[0]["load"]} == {
        (service, "complete") for service in Service
    }
    assert found["verified"], found


def test_prometheus_finds_the_broker_and_every_replica(stack: ComposeStack) -> None:
    stack.compose(*UP, "--scale", "tableinator=3", "--scale", "graphinator=2", timeout=400.0)

    jobs = {"graphinator": 2, "tableinator": 3, "rabbitmq": 1, "rabbitmq-detailed": 1, "prometheus": 1}
    until(lambda: targets(stack) == {(job, "up"): count for job, count in jobs.items()}, "all found", seconds=60.0)


def test_the_operators_container_asks_every_replica(stack: ComposeStack) -> None:
    said = json.loads(stack.compose("run", "--rm", "-T", "spindle", "status", "--json"))

    found = {name: [each["ready"] for each in state["replicas"]] for name, state in said["services"].items()}
    assert found == {"graphinator": [True] * 2, "tableinator": [True] * 3}


def test_killed_and_restarted_replicas_lose_nothing(stack: ComposeStack, measured: dict[str, Any]) -> None:
    every = {service: replicas(stack, service) for service in Service}
    before = {service: settled(every[service]) for service in Service}
    at_kill: dict[str, int] = {}
    with ThreadPoolExecutor(1) as thread:
        load = thread.submit(extract, stack, *SCALED)
        for service in (Service.TABLEINATOR, Service.GRAPHINATOR):  # (the fast one first)
            at_kill[service] = _settled_more(every[service], before[service])
            kill(stack, every[service][1])
        stack.docker("restart", every[Service.TABLEINATOR][2].container)
        published = load.result()
    victims = [every[service][1] for service in Service]
    until(lambda: all(_is_back(stack, victim) for victim in victims), "the killed ones restarted")
    until(lambda: all(each.health == "healthy" for service in Service for each in replicas(stack, service)), "healthy")
    until_drained(stack)

    found, dead = verify(stack, *SCALED), dead_letters(stack)
    measured["replicas"] = {
        "published": published,
        "settled_before_the_kill": at_kill,
        "verified": found["verified"],
        "dead_letters": dead,
        "restarts": {service: [each.restarts for each in replicas(stack, service)] for service in Service},
    }
    assert max(at_kill.values()) < published, "not killed in mid-load"
    assert found["verified"], found
    assert dead == 0
    assert measured["replicas"]["restarts"] == {Service.GRAPHINATOR: [0, 1], Service.TABLEINATOR: [0, 1, 0]}


def test_a_stopped_store_fires_its_alert_and_both_end_by_themselves(
    stack: ComposeStack, measured: dict[str, Any]
) -> None:
    every = replicas(stack, Service.TABLEINATOR)
    before = settled(every)
    until(lambda: STORE_ALERT not in alerts(stack), "calm")  # one of the test before may have begun without its store
    with ThreadPoolExecutor(1) as thread:
        load = thread.submit(extract, stack, *OUT)
        _settled_more(every, before)
        stack.compose("stop", "postgres")
        stopped = time.monotonic()
        red = until(lambda: _statuses(every) == {503}, "red")
        _, said = every[0].ready()
        published = load.result()
    held = settled(every)
    published_meanwhile = extract(stack, *OUT_AND_LATER)
    until(lambda: alerts(stack).get(STORE_ALERT) == "firing", "firing")
    fired = time.monotonic() - stopped
    until(lambda: time.monotonic() - stopped >= OUTAGE, "over")
    stored_meanwhile = settled(every) - held

    stack.compose("start", "postgres")
    away = time.monotonic() - stopped
    green = until(lambda: _statuses(every) == {200}, "green")
    resolved = until(lambda: STORE_ALERT not in alerts(stack), "resolved")
    until_drained(stack)

    found, dead = verify(stack, *OUT_AND_LATER), dead_letters(stack)
    measured["outage"] = {
        "seconds": round(away, 1),
        "published": published,
        "published_meanwhile": published_meanwhile,
        "settled_before": held - before,
        "red_after": round(red, 1),
        "readiness": said,
        "alert_fired_after": round(fired, 1),
        "green_after_start": round(green, 1),
        "alert_resolved_after_green": round(resolved, 1),
        "verified": found["verified"],
        "dead_letters": dead,
    }
    assert (said["store"]["name"], said["store"]["status"]) == ("PostgreSQL", "unavailable")
    assert said["broker"]["status"] == "ok"
    assert stored_meanwhile == 0
    assert found["verified"], found
    assert dead == 0


def test_no_password_is_in_a_containers_description_or_log(stack: ComposeStack) -> None:
    said = json.dumps(stack.inspect()) + stack.compose("logs", "--no-color")

    for server in WITH_PASSWORDS:
        assert stack.password(server) not in said, server


def documented(section: str) -> list[str]:
    """Each block of commands in a section of docs/backup.md."""
    _, _, text = (ROOT / "docs/backup.md").read_text().partition(f"\n## {section}\n")
    return re.findall(r"^```\n(.+?)^```$", text.partition("\n## ")[0], re.DOTALL | re.MULTILINE)


def _type(stack: ComposeStack, *blocks: str) -> None:
    """Do what somebody does who copies these into a shell each, and looks after each command whether it went well."""
    with ThreadPoolExecutor(len(blocks)) as threads:
        for typed in [threads.submit(stack.run, "sh", "-ec", block, timeout=300.0) for block in blocks]:
            typed.result()


def _ledgers(stack: ComposeStack) -> list[dict[str, Any]]:
    said: dict[str, Any] = json.loads(stack.compose("run", "--rm", "-T", "spindle", "loads", "--json"))
    assert not said["troubles"], said
    loads: list[dict[str, Any]] = said["loads"]
    return loads


def _is_back(stack: ComposeStack, victim: Replica) -> bool:
    [now] = [each for each in replicas(stack, victim.service) if each.number == victim.number]
    return now.restarts > victim.restarts and now.health == "healthy"


def _outcomes(stack: ComposeStack) -> dict[Service, dict[str, int]]:
    return {service: dict(outcomes(replicas(stack, service))) for service in Service}


def _settled_more(found: list[Replica], before: int) -> int:
    """Wait until they are at work. Returns: how many more they have settled."""
    until(lambda: settled(found) > before, "at work")
    return settled(found) - before


def _statuses(found: list[Replica]) -> set[int]:
    return {replica.ready()[0] for replica in found}


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)
