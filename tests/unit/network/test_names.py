"""Names looked up: within a limit, once at a time, by threads that nobody waits for."""

import asyncio
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from common.network.names import Address, NameNotFound, look_up, look_up_now

NAME = "broker.example"


class NameServer:
    """What the system's resolver does."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = 0

    def find(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        self.answers.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (end, port)) for end in ("192.0.2.1", "192.0.2.2")]


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.find)
    yield server
    server.answers.set()
    for thread in threading.enumerate():  # one that is answered late would answer the next test's question too
        if thread.name == "name look-up":
            thread.join(60.0)


async def test_a_silent_name_server_is_waited_for_no_longer_than_told(name_server: NameServer) -> None:
    """Fault 83."""
    with pytest.raises(NameNotFound, match=r"has not answered within 0\.05 s \(broker\.example\)"):
        await look_up(NAME, 5672, timeout=0.05)
    with pytest.raises(NameNotFound, match=r"has not answered within 0\.05 s \(broker\.example\)"):
        look_up_now(NAME, 5672, timeout=0.05)


async def test_a_name_is_asked_for_once_at_a_time_and_its_answer_is_everybodys(name_server: NameServer) -> None:
    with pytest.raises(NameNotFound):
        await look_up(NAME, 5672, timeout=0.01)

    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(look_up(NAME, 5672, timeout=60.0)) for _ in range(3)]
        await asyncio.sleep(0)
        name_server.answers.set()

    expected = [Address("192.0.2.1", 5672), Address("192.0.2.2", 5672)]
    assert [task.result() for task in waiting] == [expected] * 3
    assert name_server.asked == 1
    await look_up(NAME, 5672, timeout=60.0)
    assert name_server.asked == 2  # an answer is not kept: names move


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7", "[2001:db8::7]"])
async def test_an_address_is_no_name(name_server: NameServer, host: str) -> None:
    assert await look_up(host, 5672, timeout=0.05) == [Address(host.strip("[]"), 5672)]
    assert name_server.asked == 0


@pytest.mark.parametrize("name", ["nowhere.invalid", "a" * 64 + ".example", ""])
def test_a_name_that_is_none_is_a_sentence(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def find(host: str, port: int, **_: Any) -> list[Any]:
        host.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", find)

    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(NameNotFound, match=re.escape(f"the host's name is not known ({name})")),
    ):
        pool.submit(look_up_now, name, 5672, timeout=60.0).result()


_WAITING = """
import asyncio, socket, threading
from common.network.names import NameNotFound, look_up, look_up_now
from common.service import fast_loop

socket.getaddrinfo = lambda *_, **__: threading.Event().wait()

async def ask():
    try:
        await look_up("broker.example", 5672, timeout=0.05)
    except NameNotFound as error:
        print(error)

with asyncio.Runner(loop_factory=fast_loop()) as runner:
    runner.run(ask())
"""


def test_the_end_of_a_process_waits_for_no_look_up() -> None:
    """Fault 83."""
    done = subprocess.run([sys.executable, "-c", _WAITING], capture_output=True, text=True, timeout=60.0, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "the host's name is not known: the name server has not answered within 0.05 s (broker.example)\n"
    )
