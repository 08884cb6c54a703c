"""The containers themselves: built, started, loaded, taken down and started again. Where no engine runs, skipped."""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Iterator

import asyncpg
import pytest
from neo4j import GraphDatabase

from common.kinds import KINDS
from extractor.synthetic import base_counts
from tests.compose import ComposeStack, reason_against_containers, service_of

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("stack")]

CONSUMERS = ("graphinator", "tableinator")
RECORDS = 500
PUBLISHED = dict.fromkeys(("postgres", "neo4j"), base_counts(RECORDS))

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
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """The stack, up and healthy, of a name and with ports of its own."""
    reason = reason_against_containers()
    if reason is not None:
        pytest.skip(reason)
    stack = ComposeStack(f"spindle-test-{secrets.token_hex(4)}", tmp_path_factory.mktemp("compose") / "secrets")
    try:
        stack.compose("--profile", "*", "build", timeout=400.0)
        stack.compose("up", "--detach", "--wait", "--wait-timeout", "150")
        yield stack
    finally:
        stack.close()


def test_every_container_is_healthy(stack: ComposeStack) -> None:
    states = {service_of(container): container["State"] for container in stack.inspect()}

    assert {name: state["Health"]["Status"] for name, state in states.items()} == dict.fromkeys(
        ("rabbitmq", "postgres", "neo4j", *CONSUMERS), "healthy"
    )


def test_health_names_broker_and_store(stack: ComposeStack) -> None:
    for name in CONSUMERS:
        answer = json.loads(stack.compose("exec", "-T", name, "healthcheck", "ready"))

        assert (answer["status"], answer["broker"]["status"], answer["store"]["status"]) == ("ok", "ok", "ok")


@pytest.mark.parametrize("name", CONSUMERS)
def test_a_service_has_no_rights(stack: ComposeStack, name: str) -> None:
    found = json.loads(stack.compose("exec", "-T", name, "python", "-c", PROBE))

    assert found == {"uid": 10001, "writable": ["/tmp"], "capabilities": 0, "may gain privileges": False}


def test_a_load_is_stored_and_survives_down_and_up(stack: ComposeStack) -> None:
    stack.compose("run", "--rm", "-T", "extractor", "--synthetic", str(RECORDS), "--seed", "7")

    _await_records(stack)
    stack.compose("stop")
    consumers = [each for each in stack.inspect() if service_of(each) in CONSUMERS]
    assert [each["State"]["ExitCode"] for each in consumers] == [0, 0]  # drained, not killed

    stack.compose("down")
    stack.compose("up", "--detach", "--wait", "--wait-timeout", "150")
    assert _records(stack) == PUBLISHED


def test_a_service_can_have_replicas(stack: ComposeStack) -> None:
    stack.compose("up", "--detach", "--wait", "--wait-timeout", "60", "--scale", "tableinator=3")

    published = {stack.compose("port", "--index", str(index), "tableinator", "8002").strip() for index in (1, 2, 3)}
    assert len(published) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+", address) for address in published)


def test_no_password_is_in_a_containers_description_or_log(stack: ComposeStack) -> None:
    said = json.dumps(stack.inspect()) + stack.compose("logs", "--no-color")

    for server in ("rabbitmq", "postgres", "neo4j"):
        assert stack.password(server) not in said, server


def _await_records(stack: ComposeStack) -> None:
    """Wait until both stores hold as many records of each kind as were published."""
    deadline = time.monotonic() + 60.0
    while (stored := _records(stack)) != PUBLISHED:
        assert time.monotonic() < deadline, f"{stored}, but published were {PUBLISHED}"
        time.sleep(0.3)


def _records(stack: ComposeStack) -> dict[str, dict[str, int]]:
    return {"postgres": asyncio.run(_rows(stack)), "neo4j": _nodes(stack)}


async def _rows(stack: ComposeStack) -> dict[str, int]:
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=stack.ports["POSTGRES_PORT"],
        user="spindle",
        password=stack.password("postgres"),
        database="spindle",
        timeout=10.0,
    )
    try:
        return {kind: await connection.fetchval(f"SELECT count(*) FROM {kind}", timeout=10.0) for kind in KINDS}
    finally:
        await connection.close(timeout=10.0)


def _nodes(stack: ComposeStack) -> dict[str, int]:
    uri, login = f"bolt://127.0.0.1:{stack.ports['NEO4J_PORT']}", ("neo4j", stack.password("neo4j"))
    with GraphDatabase.driver(uri, auth=login, connection_timeout=10.0) as driver:
        return {
            # A stub has only its key: it is no record.
            kind: driver.execute_query(
                f"MATCH (n:{kind.removesuffix('s').capitalize()}) WHERE n.hash IS NOT NULL RETURN count(n)"
            ).records[0][0]
            for kind in KINDS
        }
