"""Which of a name's addresses is tried first, and how long each of several has."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from common.network import reaching
from common.network.names import Address
from common.network.reaching import addresses_of, dial, try_each


@pytest.fixture
def living() -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Address("127.0.0.1", server.getsockname()[1])


@pytest.fixture
def dead() -> Iterator[Address]:
    """Takes no connection and refuses none, as a host that is gone."""
    with socket.socket() as server, socket.socket() as first:
        server.bind(("127.0.0.2", 0))
        server.listen(0)
        first.connect(server.getsockname())  # the only one that it holds
        second = socket.socket()
        second.setblocking(False)
        second.connect_ex(server.getsockname())
        with closing(second):
            yield Address("127.0.0.2", server.getsockname()[1])


@pytest.fixture
def refusing() -> Address:
    with socket.socket() as free:
        free.bind(("127.0.0.3", 0))
        return Address("127.0.0.3", free.getsockname()[1])


def named(monkeypatch: pytest.MonkeyPatch, *addresses: Address) -> str:
    """Give these addresses a name."""

    def find(*_: Any, **__: Any) -> list[Address]:
        return list(addresses)

    async def find_soon(*_: Any, **__: Any) -> list[Address]:
        return list(addresses)

    monkeypatch.setattr(reaching, "look_up", find_soon)
    monkeypatch.setattr(reaching, "look_up_now", find)
    return "broker.example"


async def test_what_takes_a_connection_is_tried_before_what_does_not(
    monkeypatch: pytest.MonkeyPatch, dead: Address, refusing: Address, living: Address
) -> None:
    """Fault 89."""
    name = named(monkeypatch, refusing, dead, living)

    assert await addresses_of(name, 5672, timeout=60.0) == [living, refusing, dead]


async def test_where_none_takes_a_connection_all_are_to_be_tried(
    monkeypatch: pytest.MonkeyPatch, refusing: Address, dead: Address
) -> None:
    name = named(monkeypatch, refusing, dead)

    assert await addresses_of(name, 5672, timeout=0.1) == [refusing, dead]


async def test_of_two_that_answer_the_first_is_the_first(monkeypatch: pytest.MonkeyPatch, living: Address) -> None:
    with socket.create_server(("127.0.0.4", 0)) as server:
        other = Address("127.0.0.4", server.getsockname()[1])
        name = named(monkeypatch, other, living)

        assert await addresses_of(name, 5672, timeout=60.0) == [other, living]


async def test_each_has_its_share_of_the_time_that_the_others_have_left() -> None:
    shares = []

    async def attempt(candidate: str, seconds: float) -> str:
        shares.append(seconds)
        if candidate == "c":
            return "found"
        raise ConnectionError(candidate)

    assert await try_each("abc", attempt, timeout=12.0, passed=(ConnectionError,)) == "found"
    assert [round(seconds) for seconds in shares] == [4, 6, 12]


async def test_what_is_told_of_several_failures_is_the_first_or_what_matters_more() -> None:
    async def attempt(candidate: str, _: float) -> None:
        raise LookupError(candidate) if candidate == "b" else ConnectionError(candidate)

    passed = (ConnectionError, LookupError)
    with pytest.raises(ConnectionError, match="a"):
        await try_each("abc", attempt, timeout=12.0, passed=passed)
    with pytest.raises(LookupError, match="b"):
        await try_each("abc", attempt, timeout=12.0, passed=passed, told=(LookupError,))
    with pytest.raises(LookupError, match="b"):
        await try_each("bac", attempt, timeout=12.0, passed=(ConnectionError,))


def test_without_a_loop_each_address_is_tried_too(
    monkeypatch: pytest.MonkeyPatch, dead: Address, refusing: Address, living: Address
) -> None:
    name = named(monkeypatch, refusing, dead, living)

    with dial(name, 15672, timeout=0.3) as connection:
        assert connection.getpeername() == living
        assert connection.gettimeout() == 0.3


async def test_looking_which_one_answers_leaves_no_task(monkeypatch: pytest.MonkeyPatch, living: Address) -> None:
    name = named(monkeypatch, Address("127.0.0.5", 1), living)

    await addresses_of(name, 5672, timeout=60.0)

    assert asyncio.all_tasks() == {asyncio.current_task()}
