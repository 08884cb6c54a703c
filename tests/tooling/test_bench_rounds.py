"""Between filling and measuring the servers come to rest."""

import pytest

from bench import rounds


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the servers have used at each look, in seconds of CPU time; what is left has not been asked for."""
    looks: list[float] = []
    monkeypatch.setattr(rounds, "cpu_seconds", lambda _: looks.pop(0))
    monkeypatch.setattr(rounds, "REST", 0.05 / 0.001)
    monkeypatch.setattr(rounds, "REST_LOOK", 0.001)
    return looks


async def test_servers_that_work_are_waited_for(used: list[float]) -> None:
    used += [0.0, 0.4, 0.8, 0.81, 9.9]

    await rounds.rest({"broker": 1})

    assert used == [9.9]


async def test_servers_that_never_rest_are_waited_for_no_longer_than_the_limit(
    used: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "REST_LIMIT", 0.003)
    used += [0.0, 1.0, 2.0, 3.0, 9.9]

    await rounds.rest({"broker": 1})

    assert used == [9.9]
