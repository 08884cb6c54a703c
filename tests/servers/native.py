"""Native servers for one test run: a shared stack, and one whose servers a test may stop and kill."""

import asyncio
import json
import os
import shutil
import tempfile
from pathlib import Path

from devstack.stack import launching, neo4j, ports, postgres, rabbitmq
from devstack.stack.installing import missing_packages, reason_against
from devstack.stack.member import Member
from devstack.stack.native import NativeStack
from devstack.stack.processes import ProcessRef, identify, is_running
from devstack.stack.recipe import Place
from tests.servers.servers import Neo4j, Postgres, RabbitMQ


class OwnServer:
    """A server that belongs to one test for as long as the test lasts; the methods don't block the loop."""

    def __init__(self, member: Member) -> None:
        self.member = member

    async def stop(self) -> None:
        """End it as an operator would."""
        await asyncio.to_thread(self.member.stop)

    async def start(self) -> None:
        """Start it, with its data, on the same port, and wait until it answers."""
        await asyncio.to_thread(self.member.start)

    async def kill(self) -> None:
        """End it as a power cut would."""
        await asyncio.to_thread(self.member.kill)

    def freeze(self) -> None:
        """Make it fall silent with its connections open."""
        self.member.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        self.member.thaw()


class OwnRabbitMQ(OwnServer):
    """A broker of the test's own; `broker` speaks to its management API."""

    def __init__(self, member: Member, broker: RabbitMQ) -> None:
        super().__init__(member)
        self.broker = broker
        self.url = broker.url
        self.management_url = broker.management_url
        self.is_alarmed = False
        """Whether a test has left the memory alarm on, which the next one would meet."""


class OwnPostgres(OwnServer):
    """A PostgreSQL of the test's own."""

    def __init__(self, member: Member, server: Postgres) -> None:
        super().__init__(member)
        self.dsn = server.dsn


class OwnNeo4j(OwnServer):
    """A Neo4j of the test's own."""

    def __init__(self, member: Member, server: Neo4j) -> None:
        super().__init__(member)
        self.uri = server.uri
        self.username = server.username
        self.password = server.password
        self.database = server.database

    @property
    def data(self) -> Path:
        """Where its data lies."""
        return self.member.place.folder / "data"

    async def administer(self, *arguments: str) -> None:
        """Run `neo4j-admin`, which takes a stopped server."""
        command = neo4j.administration(self.member.place, *arguments)
        done = await asyncio.to_thread(launching.run_once, command)
        assert done.returncode == 0, done.stdout + done.stderr


class NativeRun:
    """The folder of one test run with its stacks, each created when first asked for."""

    def __init__(self) -> None:
        self.folder = _new_folder()
        self._stacks: dict[str, NativeStack] = {}

    def start(self, stack: str, server: str) -> Member:
        """Have a server of the named stack running; its ports stay its own while a test has it stopped."""
        self.stack(stack).up({server})
        member = self.stack(stack).member(server)
        for port in member.place.ports.values():
            ports.claim(port)
        return member

    def stack(self, name: str) -> NativeStack:
        """Return a stack of this run, empty at first."""
        return self._stacks.setdefault(name, NativeStack(self.folder / name))

    def close(self) -> None:
        """Stop everything and remove the data."""
        for stack in self._stacks.values():
            stack.kill()  # a clean stop takes seconds, for data that goes right away
        shutil.rmtree(self.folder, ignore_errors=True)


def reason_against_native(server: str) -> str | None:
    """Return why this server can't run natively here, or None if it can."""
    if not missing_packages({server}):
        return None
    return reason_against()


def rabbitmq_at(place: Place) -> RabbitMQ:
    """Describe a native broker."""
    return RabbitMQ(rabbitmq.amqp_url(place), rabbitmq.management_url(place))


def postgres_at(place: Place) -> Postgres:
    """Describe a native PostgreSQL."""
    return Postgres(postgres.dsn(place))


def neo4j_at(place: Place) -> Neo4j:
    """Describe a native Neo4j."""
    return Neo4j(neo4j.uri(place), neo4j.USER, place.password, neo4j.DATABASE)


def _new_folder() -> Path:
    # Not the temporary folder that pytest gives: PostgreSQL, which is not root, must be able to reach it.
    root = Path("/var/tmp") / f"spindle-tests-{os.geteuid()}"
    root.mkdir(exist_ok=True)
    if root.lstat().st_uid != os.geteuid() or root.is_symlink():
        raise RuntimeError(f"{root} belongs to somebody else")
    root.chmod(0o711)
    _remove_dead_runs(root)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=root))
    folder.chmod(0o711)
    own = identify(os.getpid())
    assert own is not None
    (folder / "owner.json").write_text(json.dumps({"pid": own.pid, "started": own.started}))
    return folder


def _remove_dead_runs(root: Path) -> None:
    """End the servers of test runs that were killed, and only those: each is recognised by id and start."""
    for folder in root.glob("run-*"):
        try:
            owner = ProcessRef(**json.loads((folder / "owner.json").read_text()))
        except (FileNotFoundError, ValueError):
            continue  # just being made
        if not is_running(owner):
            for home in folder.glob("*/stack.json"):
                NativeStack(home.parent).kill()
            shutil.rmtree(folder, ignore_errors=True)
