"""The compose stack after a start that failed, and on what an earlier version of this project has left behind."""

import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.compose import ROOT, ComposeFailed, ComposeStack, check_out, reason_against_containers, service_of

pytestmark = pytest.mark.timeout(1500)

SERVERS = ("rabbitmq", "postgres", "neo4j")
FORMER = ROOT / "tests/tooling/former/docker-compose.yml"

# Each server's login with the password that is mounted for it, and what it then says of what was put there.
LOOK = {
    "rabbitmq": 'rabbitmqctl -q authenticate_user spindle "$(cat /run/secrets/rabbitmq/password)" && '
    "rabbitmqctl -q list_vhosts name",
    "postgres": 'PGPASSWORD="$(cat /run/secrets/postgres/password)" '
    "psql -h 127.0.0.1 -U spindle -Atc 'SELECT found FROM of_before'",
    "neo4j": 'cypher-shell -u neo4j -p "$(cat /run/secrets/neo4j/password)" --format plain '
    "'MATCH (n:Before) RETURN n.found'",
}
PUT = {
    "rabbitmq": "rabbitmqctl -q add_vhost of-before",
    "postgres": "psql -U spindle -qc \"CREATE TABLE of_before AS SELECT 'of-before' AS found\"",
    "neo4j": 'cypher-shell -u neo4j -p "$(cut -d/ -f2 /run/secrets/neo4j_auth)" '
    "\"CREATE (:Before {found: 'of-before'})\"",
}


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[ComposeStack]:
    """A fresh clone; nothing of it has been started."""
    reason = reason_against_containers()
    if reason is not None:
        pytest.skip(reason)
    stack = ComposeStack(f"spindle-test-{secrets.token_hex(4)}", check_out(tmp_path))
    try:
        yield stack
    finally:
        stack.close()


def states(stack: ComposeStack) -> dict[str, str]:
    found = {service_of(each): each["State"] for each in stack.inspect()}
    return {name: state.get("Health", state)["Status"] for name, state in found.items()}


def test_make_up_works_after_a_plain_up_that_failed(fresh: ComposeStack) -> None:
    with (
        socket.create_server(("127.0.0.1", fresh.ports["POSTGRES_PORT"])),
        pytest.raises(ComposeFailed, match=r"address already in use|port is already allocated"),
    ):
        fresh.compose("up", "--detach", "--wait", timeout=600.0)
    made = {server: fresh.password(server) for server in SERVERS}

    fresh.run("make", "up", timeout=600.0)

    assert {name: state for name, state in states(fresh).items() if state != "healthy"} == {"passwords": "exited"}
    assert {server: fresh.password(server) for server in SERVERS} == made


def test_data_and_passwords_of_the_former_way_are_taken_over(fresh: ComposeStack) -> None:
    former = {server: f"of-before-{server}" for server in SERVERS}
    folder = fresh.checkout / "secrets"
    for server, password in former.items():
        (folder / f"{server}_password").write_text(f"{password}\n")
    (folder / "rabbitmq.conf").write_text(f"default_user = spindle\ndefault_pass = {former['rabbitmq']}\n")
    (folder / "neo4j_auth").write_text(f"neo4j/{former['neo4j']}\n")
    shutil.copy(FORMER, fresh.checkout / "former.yml")
    fresh.compose("--file", "former.yml", "up", "--detach", "--wait", timeout=300.0)
    for server, command in PUT.items():
        fresh.compose("--file", "former.yml", "exec", "-T", server, "sh", "-c", command)
    fresh.compose("--file", "former.yml", "down")

    fresh.compose("up", "--detach", "--wait", *SERVERS, timeout=600.0)

    for server, command in LOOK.items():
        assert "of-before" in fresh.compose("exec", "-T", server, "sh", "-c", command), server
    assert {server: fresh.password(server) for server in SERVERS} == former
    _see_that_lost_passwords_are_refused(fresh)


def _see_that_lost_passwords_are_refused(stack: ComposeStack) -> None:
    stack.compose("down")
    stack.docker("volume", "rm", f"{stack.name}_postgres-password")
    (stack.checkout / "secrets/postgres_password").unlink()

    with pytest.raises(ComposeFailed, match=r"exit 2") as failure:
        stack.run("make", "up", timeout=600.0)

    assert "postgres: its data was made with a password that is not here any more" in str(failure.value)
    assert f"docker volume rm {stack.name}_postgres" in str(failure.value)
