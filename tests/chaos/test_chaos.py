"""Two short runs of chaos, and what the drawing promises."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.chaos.drawing import Kind, Story, draw, warm_up
from tests.chaos.running import leaks, perform
from tests.chaos.totals import complaints, line
from tests.chaos.world import world_of
from tests.servers.native import OwnNeo4j, OwnPostgres, OwnRabbitMQ

SEED = 5
_QUICK = set(Kind) - {Kind.SERVER_KILLED, Kind.SERVER_RESTARTED, Kind.HALF_OPEN, Kind.SWITCHOVER}


def _first(fits: Callable[[Story], bool]) -> Story:
    stories: Iterator[Story] = (draw(SEED, run) for run in count())
    found = next(story for story in stories if {each.kind for each in story.faults} <= _QUICK and fits(story))
    return replace(found, records=800, months=1)


def _killed_beside_a_bad_record(story: Story) -> bool:
    return story.bad == 1 and any(each.kind is Kind.SERVICE_KILLED for each in story.faults)


def _without_a_store(story: Story) -> bool:
    away = {Kind.DISK_FULL, Kind.READ_ONLY, Kind.LOGIN_REVOKED, Kind.TABLE_AWAY}
    return 1 < story.bad < 100 and len({each.kind for each in story.faults} & away) == 1


@pytest.mark.parametrize("fits", [_killed_beside_a_bad_record, _without_a_store], ids=["killed", "store-away"])
async def test_after_chaos_every_record_is_stored_or_set_aside_for_its_reason(
    fits: Callable[[Story], bool],
    own_rabbitmq: OwnRabbitMQ,
    own_postgres: OwnPostgres,
    own_neo4j: OwnNeo4j,
    tmp_path: Path,
) -> None:
    """Fault 24."""
    story = _first(fits)

    async with world_of(own_rabbitmq, own_postgres, own_neo4j) as world:
        run = await perform(world, story, tmp_path)

    print(line(run))
    assert complaints(run) == [], run.ledger.examples
    assert run.ledger.expected > 0
    assert run.published >= story.records


def test_a_run_is_drawn_from_seed_and_number_alone() -> None:
    assert [draw(SEED, run) for run in range(50)] == [draw(SEED, run) for run in range(50)]
    assert draw(SEED, 1) != draw(SEED, 2)


def test_300_runs_draw_every_fault_and_every_share_of_bad_records() -> None:
    stories = [draw(SEED, run) for run in range(300)]

    assert {each.kind for story in stories for each in story.faults} == set(Kind)
    assert {min(story.bad, 2) for story in stories} == {0, 1, 2}
    assert 80 < sum(story.is_pooled for story in stories) < 120
    assert any(story.bad == story.records for story in stories)
    assert warm_up(SEED).faults == ()


def test_a_log_that_shows_a_secret_or_a_record_is_found(tmp_path: Path) -> None:
    (tmp_path / "tableinator-0.log").write_text("info tableinator Connected password=hunter-2-hunter\n")
    (tmp_path / "graphinator-0.log").write_text("debug graphinator Storing title=A Song For Nobody\n")
    (tmp_path / "graphinator-1.log").write_text("info graphinator Stopped exit_code=0\n")

    found = leaks(tmp_path, ["hunter-2-hunter"], ["A Song For Nobody"])

    assert found == ["graphinator-0.log shows a record's text", "tableinator-0.log shows a secret"]
