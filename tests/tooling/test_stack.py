"""The native stack, by its command and by its API, with real servers."""

import errno
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TypeVar

import asyncpg
import psutil
import pytest
from msgspec import structs
from neo4j import GraphDatabase

from devstack.stack import neo4j, ports, processes
from devstack.stack.member import Condition, Member
from devstack.stack.native import SERVERS, SERVICES, NativeStack
from devstack.stack.processes import ProcessRef, is_running
from devstack.stack.recipe import Place, StackFailed
from devstack.stack.service import Service
from tests.servers import native
from tests.servers.native import NativeRun
from tests.servers.servers import in_thread

_T = TypeVar("_T")
RABBITMQ_AND_POSTGRES = ("rabbitmq", "postgres")  # where Neo4j's seconds would add nothing


def devstack(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "devstack", *arguments, "--home", str(home)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def stack(native_run: NativeRun) -> Iterator[NativeStack]:
    """A stack with its three servers, started by the command. Each test leaves them running."""
    missing = [reason for name in SERVERS if (reason := native.reason_against_native(name))]
    if missing:
        pytest.skip(missing[0])
    stack = native_run.stack("by-command")
    started = devstack("up", "--no-services", "--json", home=stack.home)
    assert started.returncode == 0, started.stderr
    yield stack
    stack.kill()


def test_neo4j_maps_the_archive_of_its_classes_where_there_is_one(stack: NativeStack) -> None:
    server = stack.member("neo4j").process
    assert server is not None
    archive = neo4j.class_archive()

    assert (str(archive) in Path(f"/proc/{server.pid}/maps").read_text()) == archive.exists()


def test_a_second_up_starts_nothing_and_says_so(stack: NativeStack) -> None:
    before = pids(stack)

    again = devstack("up", "--no-services", home=stack.home)

    assert (again.returncode, pids(stack)) == (0, before)
    assert "already running" in again.stderr


def test_status_names_every_server_for_a_program(stack: NativeStack) -> None:
    status = devstack("status", "--json", home=stack.home)

    members = json.loads(status.stdout)["members"]
    assert status.returncode == 0
    assert {member["name"]: member["pid"] for member in members} == pids(stack)
    assert {member["state"] for member in members} == {"running"}


def test_env_prints_lines_that_a_shell_takes(stack: NativeStack) -> None:
    lines = devstack("env", home=stack.home).stdout

    told = subprocess.run(["env", "-i", "sh", "-c", f"{lines}\nenv"], capture_output=True, text=True, check=True).stdout

    assert {f"{name}={value}" for name, value in stack.environment().items()} <= set(told.splitlines())


def test_everything_listens_on_the_loopback_only(stack: NativeStack) -> None:
    known = {port for name in SERVERS for port in stack.member(name).place.ports.values()}
    owned = {pid for name in SERVERS for ref in stack.state.member(name).processes.values() for pid in family(ref)}

    sockets = [found for found in psutil.net_connections("inet") if found.status == psutil.CONN_LISTEN]
    addresses = [(found.pid, found.laddr) for found in sockets if found.laddr]
    listening = [address for pid, address in addresses if pid in owned or address.port in known]

    assert {address.port for address in listening} == known
    assert [address for address in listening if not _is_loopback(ip_address(address.ip))] == []


def test_secrets_are_in_private_files_and_on_no_command_line(stack: NativeStack) -> None:
    passwords = [stack.member(name).place.password for name in SERVERS]

    readable = [path for path in stack.home.rglob("*") if _others_can_read(path, stack.home)]
    told = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]

    assert readable == []
    assert not [line for line in told for password in passwords if password in " ".join(line or ())]


def test_a_killed_server_is_noticed_and_the_next_up_starts_only_that_one(stack: NativeStack) -> None:
    before = pids(stack)
    os.kill(before["postgres"], signal.SIGKILL)
    _until(10, lambda: stack.member("postgres").condition() is Condition.DEAD or None)

    degraded = devstack("status", "--json", home=stack.home)
    mended = devstack("up", "--no-services", home=stack.home)

    assert (degraded.returncode, mended.returncode) == (1, 0)
    assert {row["name"]: row["state"] for row in json.loads(degraded.stdout)["members"]}["postgres"] == "dead"
    assert {name for name, pid in pids(stack).items() if before[name] != pid} == {"postgres"}


def test_a_silent_server_is_not_called_running(stack: NativeStack) -> None:
    member = stack.member("postgres")

    member.freeze()
    frozen = member.condition()
    member.thaw()

    assert (frozen, member.condition()) == (Condition.UNREADY, Condition.RUNNING)


def test_of_a_process_that_is_frozen_the_eldest_is_stopped_first_and_nothing_that_it_started_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever is not stopped starts another as soon as the children have been listed."""
    eldest, child, grandchild, late = (ProcessRef(number, "boot:1") for number in range(1, 5))
    next_of = {eldest: late, child: grandchild}
    family = [child]
    told: list[tuple[ProcessRef, signal.Signals]] = []

    def descendants(_: ProcessRef) -> list[ProcessRef]:
        listed, stopped = list(family), {ref for ref, _ in told}
        family.extend(each for parent, each in next_of.items() if not {parent, each} & {*stopped, *family[1:]})
        return listed

    monkeypatch.setattr(processes, "descendants", descendants)
    monkeypatch.setattr(processes, "_signal", lambda *signalled: told.append(signalled))

    processes.freeze(eldest)
    frozen = told.copy()
    told.clear()
    processes.thaw(eldest)

    assert frozen == [(each, signal.SIGSTOP) for each in (eldest, child, grandchild)]
    assert {each for each, _ in told} == {eldest, child, grandchild}
    assert {number for _, number in told} == {signal.SIGCONT}


def test_what_a_killed_process_has_started_ends_with_it() -> None:
    parent = subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"])
    found = processes.identify(parent.pid)
    assert found is not None
    children = _until(10, lambda: both if len(both := processes.descendants(found)) == 2 else None)

    processes.kill(found)
    parent.wait(timeout=10)
    left = [child for child in children if is_running(child)]
    for child in left:
        processes.kill(child)

    assert left == []


def test_a_process_that_has_ended_runs_no_more_whatever_its_name_and_although_nobody_waits_for_it(
    tmp_path: Path,
) -> None:
    name = tmp_path / "a ) S b"
    name.symlink_to(shutil.which("sleep") or "")
    asleep = subprocess.Popen([name, "60"])
    found = processes.identify(asleep.pid)
    assert found is not None and is_running(found)

    asleep.kill()
    has_ended = processes.wait_until_ended(found, 10.0)
    asleep.wait(timeout=10)

    assert has_ended


def test_a_frozen_process_can_be_asked_to_end() -> None:
    asleep = subprocess.Popen(["sleep", "60"])
    found = processes.identify(asleep.pid)
    assert found is not None
    processes.freeze(found)

    processes.end(found, signal.SIGTERM, timeout=10.0)

    assert asleep.wait(timeout=10) == -signal.SIGTERM


def test_data_passwords_and_ports_survive_down_and_up_and_nothing_is_left_in_between(stack: NativeStack) -> None:
    environment = stack.environment()
    running = [ref for name in SERVERS for ref in stack.state.member(name).processes.values()]
    _leave_a_trace(stack)

    down = devstack("down", home=stack.home)
    status = devstack("status", home=stack.home)
    left = [ref for ref in running if is_running(ref)]
    up = devstack("up", "--no-services", home=stack.home)

    assert (down.returncode, status.returncode, up.returncode) == (0, 2, 0)
    assert (len(running), left) == (4, [])  # RabbitMQ's name server is one of them
    assert stack.environment() == environment
    assert _find_the_trace(stack) == ("here", ["here"], ["here"])


def test_services_run_beside_their_servers_and_a_killed_one_comes_back(stack: NativeStack) -> None:
    stack.up(SERVERS, SERVICES)
    tableinator = stack.member("tableinator")
    assert tableinator.process is not None
    first = processes.descendants(tableinator.process)

    processes.kill(first[0])
    _until(30, lambda: tableinator.condition() is Condition.UNREADY or None)
    _until(60, lambda: tableinator.condition() is Condition.RUNNING or None)
    told = devstack("env", "--json", home=stack.home).stdout
    for name in SERVICES:
        stack.member(name).stop()

    ports = {name: stack.member(name).place.ports["metrics"] for name in SERVICES}
    metrics = {f"STATUS_{name.upper()}": f"127.0.0.1:{port}" for name, port in ports.items()}
    assert metrics.items() <= json.loads(told).items()
    assert "restart 1 of 10" in tableinator.place.log("tableinator").read_text()
    assert "exit_code=0" in tableinator.place.log("tableinator").read_text()


def test_two_stacks_live_side_by_side(stack: NativeStack, private_stack: NativeStack) -> None:
    before = pids(stack)

    private_stack.up(RABBITMQ_AND_POSTGRES)
    private_stack.down()

    assert pids(stack) == before
    assert stack.member("rabbitmq").condition() is Condition.RUNNING


def test_a_failing_start_stops_the_rest_and_shows_the_servers_own_words(private_stack: NativeStack) -> None:
    folder = private_stack.home / "postgres" / "data"
    private_stack.home.mkdir()
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("9.6\n")
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "postgres:", folder.parent], check=True)
    folder.chmod(0o700)

    with pytest.raises(StackFailed, match=r"postgres ended with exit code 2[\s\S]*postgresql\.conf"):
        private_stack.up(RABBITMQ_AND_POSTGRES)

    assert conditions(private_stack) <= {Condition.STOPPED, Condition.ABSENT}


def test_an_up_that_is_told_to_end_leaves_nothing_behind(private_stack: NativeStack) -> None:
    command = [sys.executable, "-m", "devstack", "up", "--no-services", "--home", str(private_stack.home)]
    up = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    started = _until(30, lambda: private_stack.member("rabbitmq").process)

    up.send_signal(signal.SIGTERM)

    assert up.wait(timeout=60) == 130
    assert not is_running(started)
    assert conditions(private_stack) <= {Condition.STOPPED, Condition.ABSENT}


def test_a_process_that_took_over_an_old_id_is_never_signalled(private_stack: NativeStack) -> None:
    private_stack.up({"postgres"})
    private_stack.member("postgres").kill()
    stranger = subprocess.Popen(["sleep", "60"])
    recycled = ProcessRef(stranger.pid, "another-boot:1")
    private_stack.state.change("postgres", lambda known: structs.replace(known, processes={"postgres": recycled}))

    private_stack.down()

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_taken_port_is_replaced(private_stack: NativeStack) -> None:
    private_stack.up({"postgres"})
    port = private_stack.member("postgres").place.ports["sql"]
    private_stack.down()

    with socket.create_server((ports.LOOPBACK, port)):
        private_stack.up({"postgres"})

    assert private_stack.member("postgres").place.ports["sql"] != port


def test_a_chosen_port_is_nobody_elses_until_its_server_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store's tests met the broker of other tests, which had chosen the same port within the seconds of a start."""
    drawn = iter([19_011, 19_011, 19_013, 19_012, 19_014, 19_011])  # where nobody else draws
    monkeypatch.setattr(random, "randrange", lambda *_: next(drawn))

    [first] = ports.choose(["sql"]).values()
    [second] = ports.choose(["bolt"]).values()
    [third] = ports.choose(["metrics"], width=2).values()
    ports.release([first])
    [fourth] = ports.choose(["bolt"]).values()
    [again] = ports.choose(["bolt"], {"bolt": fourth}).values()
    ports.release([second, third, third + 1, fourth])

    assert [first, second, third, fourth, again] == [19_011, 19_013, 19_014, 19_011, 19_011]


def test_a_port_that_another_process_has_chosen_is_left_to_it_even_by_its_former_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choosing = "import sys; from devstack.stack import ports; print(ports.claim(19_021), flush=True); sys.stdin.read()"
    monkeypatch.setattr(random, "randrange", lambda *_: 19_022)

    with subprocess.Popen([sys.executable, "-c", choosing], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        said = other.stdout.readline()
        [meanwhile] = ports.choose(["sql"], {"sql": 19_021}).values()
        other.communicate(timeout=30)
    [afterwards] = ports.choose(["bolt"], {"bolt": 19_021}).values()
    ports.release([meanwhile, afterwards])

    assert (said, meanwhile, afterwards) == (b"True\n", 19_022, 19_021)


def test_a_name_that_the_kernel_refuses_is_no_taken_port(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = PermissionError(errno.EACCES, "no")
    monkeypatch.setattr(socket.socket, "bind", lambda *_: (_ for _ in ()).throw(refusal))

    with pytest.raises(PermissionError):
        ports.choose(["sql"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which sees no more than others without this capability")
def test_of_a_process_that_may_not_be_looked_into_nothing_is_known() -> None:
    listening = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.create_server(('127.0.0.1', 0)); "
        "print(flush=True); sys.stdin.read()"
    )
    looking = (
        "import sys; from devstack.stack import processes as p; print(p.listening([p.identify(int(sys.argv[1]))]))"
    )
    argv = ["setpriv", "--bounding-set", "-sys_ptrace", sys.executable, "-c", looking]

    with subprocess.Popen([sys.executable, "-c", listening], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        said = subprocess.run([*argv, str(other.pid)], capture_output=True, text=True, timeout=60, check=False)
        other.communicate(timeout=30)

    assert said.stdout == "None\n", said.stderr


def _answer(server: socket.socket, said: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1024)  # what is left unread would end it with a reset, and what was said with it
        connection.sendall(said)


def test_a_port_that_another_process_has_chosen_is_its_own_until_it_ends() -> None:
    program = "from devstack.stack import ports; print(ports.choose(['sql'])['sql'], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = int(other.stdout.readline())
        [ours] = ports.choose(["bolt"], {"bolt": theirs}).values()
        other.communicate("\n", timeout=30)
    [later] = ports.choose(["metrics"], {"metrics": theirs}).values()
    ports.release([ours, later])

    assert ours != theirs
    assert later == theirs


def test_of_ports_that_can_not_all_be_had_none_is_kept_from_others() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as stranger:
        second = stranger.getsockname()[1]
        before = {"sql": second - 1}
        [elsewhere] = ports.choose(["sql"], before, width=2).values()
    both = ports.choose(["sql", "bolt"], before | {"bolt": second})
    ports.release([elsewhere, elsewhere + 1, *both.values()])

    assert elsewhere != second - 1
    assert both == {"sql": second - 1, "bolt": second}


@pytest.mark.parametrize(
    ("patience", "is_abandoned", "said"), [(0.0, False, "did not answer within 0 s"), (9.0, True, "start abandoned")]
)
def test_a_start_that_fails_or_is_abandoned_leaves_no_process_and_its_ports_to_others(
    private_stack: NativeStack, monkeypatch: pytest.MonkeyPatch, patience: float, is_abandoned: bool, said: str
) -> None:
    monkeypatch.setattr(Service, "patience", patience)
    private_stack.home.mkdir()
    member = Member(Service("standin", dict), private_stack.home, private_stack.state)
    abandoned = threading.Event()
    if is_abandoned:
        abandoned.set()

    with pytest.raises(StackFailed, match=said):
        member.start(abandoned)

    assert (member.condition(), member.worker()) == (Condition.STOPPED, None)
    left = dict(member.place.ports)
    again = ports.choose(left, left)
    ports.release(again.values())
    assert again == left


@pytest.mark.parametrize("said", [b"AMQP\x00\x00\x09\x01", b"HTTP/1.1 400 Bad Request", bytes(4)])
def test_what_another_server_says_is_not_neo4j(said: bytes, tmp_path: Path) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as stranger:
        threading.Thread(target=_answer, args=(stranger, said), daemon=True).start()
        place = Place(tmp_path, tmp_path, {"bolt": stranger.getsockname()[1]}, "")

        assert not neo4j.Neo4j().is_ready(place)


def test_a_stranger_on_its_port_is_not_taken_for_the_server(
    private_stack: NativeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "standin.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(Service, "patience", 2.0)
    monkeypatch.setattr(Service, "is_ready", lambda _self, place: ports.is_listening(place.ports["metrics"]))
    private_stack.home.mkdir()
    member = Member(Service("standin", dict), private_stack.home, private_stack.state)

    with socket.create_server((ports.LOOPBACK, 0)) as stranger:
        monkeypatch.setattr(ports, "choose", lambda *_: {"metrics": stranger.getsockname()[1]})
        with pytest.raises(StackFailed, match="did not answer within 2 s"):
            member.start()


def test_a_service_gets_addresses_is_restarted_and_ends_with_its_killed_supervisor(
    private_stack: NativeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "standin.py").write_text(STANDIN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("RABBITMQ_URL", "amqp://elsewhere")
    monkeypatch.setenv("POSTGRES_BATCH_SIZE", "7")
    private_stack.home.mkdir()
    service = Service("standin", lambda: {"RABBITMQ_HOST": "here"})
    member = Member(service, private_stack.home, private_stack.state)

    member.start()
    supervisor = member.process
    assert supervisor is not None
    first = processes.descendants(supervisor)[0]
    processes.kill(first)
    second = _until(10, lambda: next((ref for ref in processes.descendants(supervisor) if ref != first), None))
    _until(10, lambda: member.condition() is Condition.RUNNING or None)
    told = json.loads((tmp_path / "environment.json").read_text())
    supervised = member.worker()
    os.kill(supervisor.pid, signal.SIGKILL)
    _until(10, lambda: not is_running(supervisor) or None)
    orphan, condition = member.worker(), member.condition()
    member.stop()

    assert told == {"RABBITMQ_HOST": "here", "POSTGRES_BATCH_SIZE": "7"}
    assert supervised == orphan == second
    assert condition is Condition.PARTLY
    assert not is_running(second)
    assert (member.worker(), member.condition()) == (None, Condition.STOPPED)


STANDIN = """
import http.server, json, os, pathlib
names = [n for n in os.environ if n.startswith(("RABBITMQ_", "POSTGRES_BATCH"))]
told = {n: os.environ[n] for n in names}
pathlib.Path(__file__).with_name("environment.json").write_text(json.dumps(told))
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer((os.environ["METRICS_HOST"], int(os.environ["METRICS_PORT"])), Ready).serve_forever()
"""


def family(ref: ProcessRef) -> list[int]:
    return [ref.pid, *(child.pid for child in processes.descendants(ref))]


def conditions(stack: NativeStack) -> set[Condition]:
    return {member.condition() for member in stack.members.values()}


def pids(stack: NativeStack) -> dict[str, int]:
    return {name: process.pid for name in SERVERS if (process := stack.member(name).process) is not None}


def _is_loopback(address: IPv4Address | IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _others_can_read(path: Path, home: Path) -> bool:
    """Tell whether the way to this file, or folder, and itself are open to everybody."""
    way = [folder for folder in path.parents if folder.is_relative_to(home)]
    return all(folder.stat().st_mode & 0o001 for folder in way) and bool(path.stat().st_mode & 0o044)


def _leave_a_trace(stack: NativeStack) -> None:
    in_thread(_execute(stack, "CREATE TABLE trace AS SELECT 'here' AS said"))
    broker = native.rabbitmq_at(stack.member("rabbitmq").place)
    broker.api("PUT", "queues/%2F/trace", {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    message = {"properties": {"delivery_mode": 2}, "routing_key": "trace", "payload": "here"}
    broker.api("POST", "exchanges/%2F/amq.default/publish", {**message, "payload_encoding": "string"})
    _cypher(stack, "CREATE (:Trace {said: 'here'})")


def _find_the_trace(stack: NativeStack) -> tuple[object, ...]:
    broker = native.rabbitmq_at(stack.member("rabbitmq").place)
    asked = {"count": 10, "ackmode": "ack_requeue_true", "encoding": "auto"}
    return (
        in_thread(_execute(stack, "SELECT said FROM trace")),
        [message["payload"] for message in broker.api("POST", "queues/%2F/trace/get", asked)],
        _cypher(stack, "MATCH (n:Trace) RETURN n.said"),
    )


async def _execute(stack: NativeStack, statement: str) -> object:
    connection = await asyncpg.connect(native.postgres_at(stack.member("postgres").place).dsn, timeout=10.0)
    try:
        return await connection.fetchval(statement, timeout=10.0)
    finally:
        await connection.close(timeout=10.0)


def _cypher(stack: NativeStack, statement: str) -> list[str]:
    server = native.neo4j_at(stack.member("neo4j").place)
    with GraphDatabase.driver(server.uri, auth=(server.username, server.password)) as driver:
        return [str(record[0]) for record in driver.execute_query(statement).records]


def _until(seconds: float, found: Callable[[], _T | None]) -> _T:
    deadline = time.monotonic() + seconds
    while (value := found()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value
