"""Run arms in rounds: every arm once a round, each round beginning with another one, everything raw kept."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bench.arms import Arm
from bench.clock import Measured, Stopwatch
from bench.processes import cpu_seconds

STOLEN_LIMIT = 0.05
"""Of all CPU time. Above it a run is marked: the machine was not ours."""
END_LIMIT = 60.0
REST = 0.05
"""Of a core: what servers use that have nothing to do."""
REST_LOOK, REST_LIMIT = 0.5, 15.0  # seconds


class Result(msgspec.Struct, frozen=True):
    """One arm in one round. `cpu_us` is microseconds of CPU time per record, `memory_mb` the peak, both by role."""

    arm: str
    round: int
    records: int
    seconds: float
    rate: float
    cpu_us: dict[str, float]
    memory_mb: dict[str, float]
    stolen: float
    elsewhere: float
    is_marked: bool
    figures: dict[str, float]
    failure: str = ""


Say = Callable[[Result], None]


def order(count: int, number: int) -> Iterator[int]:
    """The places of the arms in round `number`: each begins where the last one's second stood."""
    return ((start + number) % count for start in range(count))


async def run_rounds(arms: Sequence[Arm], rounds: int, servers: Mapping[str, int], say: Say) -> list[Result]:
    """Run them all; an arm that fails is said so in its result, and the others go on."""
    results = []
    for number in range(rounds):
        for place in order(len(arms), number):
            result = await _run(arms[place], number, servers)
            results.append(result)
            say(result)
    return results


async def _run(arm: Arm, number: int, servers: Mapping[str, int]) -> Result:
    watch = Stopwatch(servers, arm.processes)
    try:
        await arm.prepare()
        await rest(servers)
        run = await arm.run(watch)
        await arm.check()
        return _result(arm.name, number, run.records, watch.measured(), run.figures)
    except Exception as error:  # noqa: BLE001 - one arm must not end the bench of twenty minutes
        return _failed(arm.name, number, f"{type(error).__name__}: {error}")
    finally:
        async with asyncio.timeout(END_LIMIT):
            await arm.end()


async def rest(servers: Mapping[str, int]) -> None:
    """Wait until the servers have done what filling has left them, within a limit.

    A broker writes a filled quorum queue to its segments a second later: as much work as giving all of it out.
    """
    used = sum(map(cpu_seconds, servers.values()))
    for _ in range(round(REST_LIMIT / REST_LOOK)):
        await asyncio.sleep(REST_LOOK)
        before, used = used, sum(map(cpu_seconds, servers.values()))
        if used - before <= REST * REST_LOOK:
            return


def _result(arm: str, number: int, records: int, measured: Measured, figures: Mapping[str, Any]) -> Result:
    return Result(
        arm=arm,
        round=number,
        records=records,
        seconds=measured.seconds,
        rate=records / measured.seconds,
        cpu_us={role: seconds * 1e6 / records for role, seconds in measured.cpu.items()},
        memory_mb=dict(measured.memory),
        stolen=measured.stolen,
        elsewhere=measured.elsewhere,
        is_marked=measured.stolen > STOLEN_LIMIT,
        figures={name: float(value) for name, value in figures.items()},
    )


def _failed(arm: str, number: int, why: str) -> Result:
    return Result(arm, number, 0, 0.0, 0.0, {}, {}, 0.0, 0.0, is_marked=True, figures={}, failure=why)
