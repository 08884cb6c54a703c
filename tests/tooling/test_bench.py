"""The bench on real servers, in small: what it says of a run, and the relations that hold on every machine."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bench import source_arms
from bench.arms import Arm, WrongStore
from bench.peers import table_arms as peers
from bench.records import load_of, releases, with_changes
from bench.rounds import Result, run_rounds
from bench.stage import Stage
from bench.table_consumer import Tableinator, Task
from bench.tables import TABLE, Tables
from tests.servers import servers

RECORDS = 6_000
FACTOR = 3.0
"""How many times faster than the per-message consumer, at least: 12 must be reached where the machine is quiet."""
SHARE = 0.6
"""Of aio-pika's CPU time per message the fast source takes at the most so much; a ninth was measured."""


@pytest.fixture(scope="module")
def stage(rabbitmq: servers.RabbitMQ, postgres: servers.Postgres, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The tests' broker and database, as the bench has its own."""
    load = load_of(RECORDS, seed=5)
    originals = releases(load, RECORDS)
    folder: Path = tmp_path_factory.mktemp("bench")
    return Stage(
        rabbitmq.url,
        rabbitmq.management_url,
        postgres.dsn,
        *("", "", "", ""),
        folder=folder,
        load=load,
        releases=originals,
        changed=with_changes(originals),
        graph_records=0,
    )


@pytest.fixture
async def tables(stage: Stage) -> AsyncIterator[Tables]:
    """The table, which the test's end removes."""
    connected = await Tables.connect(stage.postgres_dsn)
    yield connected
    await connected.fetch(f"DROP TABLE IF EXISTS {TABLE}")
    await connected.close()


async def test_tableinator_is_several_times_faster_than_a_consumer_per_message(stage: Stage, tables: Tables) -> None:
    per_message = peers.per_message_arm(stage)

    ours, theirs = await _run(_tableinator(stage), per_message)

    print(f"{ours.rate:,.0f}/s against {theirs.rate:,.0f}/s: {ours.rate / theirs.rate:.1f}")
    assert ours.rate > FACTOR * theirs.rate


async def test_the_fast_source_takes_a_part_of_the_cpu_time(stage: Stage) -> None:
    fast, slow, foreign = await _run(*source_arms.arms(stage))

    cpu = {each.arm: each.figures["cpu_us"] for each in (fast, slow, foreign)}
    print(", ".join(f"{arm} {used:.1f} µs a message" for arm, used in cpu.items()))
    assert fast.figures["cpu_us"] < SHARE * slow.figures["cpu_us"]
    assert foreign.figures["cpu_us"] < SHARE * slow.figures["cpu_us"]


async def test_a_run_says_what_its_consumer_has_used(stage: Stage, tables: Tables) -> None:
    [result] = await _run(_tableinator(stage))

    assert 0 < result.records < RECORDS  # what was committed before the watch began is not counted
    assert result.rate == pytest.approx(result.records / result.seconds)
    assert result.cpu_us["consumer"] > 0
    assert 30 < result.memory_mb["consumer"] < 250
    assert 0.5 < result.figures["batch_fill"] <= 1


async def test_a_store_that_lacks_a_record_fails_the_run(stage: Stage, tables: Tables) -> None:
    await tables.make()

    with pytest.raises(WrongStore, match=f"{RECORDS} of {RECORDS} records are missing"):
        await tables.compare(stage.releases)


async def test_an_arm_that_fails_is_said_so_and_the_others_go_on(stage: Stage, tables: Tables) -> None:
    broken = Tableinator("broken", stage, Task(stage.releases), POSTGRES_PREFETCH="1")

    failed, other = await run_rounds([broken, _tableinator(stage)], 1, {}, lambda _: None)

    assert "POSTGRES_PREFETCH is 1" in failed.failure
    assert not other.failure


def _tableinator(stage: Stage) -> Tableinator:
    return Tableinator("tables_fast", stage, Task(stage.releases, start=RECORDS // 20))


async def _run(*arms: Arm) -> Iterator[Result]:
    results = await run_rounds(arms, 1, {}, lambda _: None)
    assert [result.failure for result in results] == [""] * len(results)
    return iter(results)
