"""`spindle doctor`'s rules: versions, clocks, disks, settings, and the exit code."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.kinds import Service
from common.ops.checks import MOST_OFFSET, Check, Findings, State
from common.rabbitmq.ops import doctor as rabbitmq
from extractor.dumps import DumpFile
from extractor.loads import DumpLoad
from extractor.settings import ExtractorSettings
from extractor.synthetic.synthetic import SyntheticLoad
from graphinator.ops import doctor as neo4j
from spindle.doctor.command import as_data, verdict
from spindle.doctor.configuration import settings_checks
from spindle.doctor.disks import broker_disk, broker_memory, common_disk, shared_disk, store_disk
from spindle.doctor.needs import LOG_BYTES, Need, in_words, need_of
from tableinator.ops import doctor as postgres

FOUND = Findings("A server")
NODE = {"name": "a node", "disk_free": 50_000_000_000, "disk_free_limit": 2_000_000_000}
LOAD = SyntheticLoad(1_000_000, seed=1)


@pytest.mark.parametrize(
    ("check", "state"),
    [
        (rabbitmq.version_check((3, 7, 28)), State.FAILED),
        (rabbitmq.version_check((3, 9, 0)), State.WARNING),
        (rabbitmq.version_check((3, 10, 8)), State.OK),
        (rabbitmq.version_check((4, 3, 6)), State.OK),
        (postgres.version_check(10), State.FAILED),
        (postgres.version_check(14), State.WARNING),
        (postgres.version_check(18), State.OK),
        (neo4j.version_check("Neo4j/5.22.0"), State.FAILED),
        (neo4j.version_check("Neo4j/4.4.44"), State.FAILED),
        (neo4j.version_check("Memgraph/2"), State.FAILED),
        (neo4j.version_check("Neo4j/5.26.0"), State.OK),
        (neo4j.version_check("Neo4j/2025.11.2"), State.OK),
    ],
)
def test_versions_are_known(check: Check, state: State) -> None:
    assert (check.name, check.state) == ("version", state)
    assert state is State.OK or "upgrade" in check.sentence


def test_too_few_connections_are_a_warning_that_names_what_to_change() -> None:
    assert postgres.connections_check(8, 8).state is State.OK
    assert postgres.connections_check(7, 8).state is State.WARNING
    assert "POSTGRES_WRITERS" in postgres.connections_check(7, 8).sentence


@pytest.mark.parametrize(
    ("theirs", "state"),
    [(100.5, State.OK), (100 - MOST_OFFSET, State.OK), (100 - MOST_OFFSET - 1, State.WARNING), (110.0, State.WARNING)],
)
def test_a_clock_is_wrong_only_beyond_the_time_that_asking_took(theirs: float, state: State) -> None:
    assert FOUND.clock(theirs, asked=100.0, answered=101.0).state is state


def test_a_clock_that_rounds_down_is_not_behind() -> None:
    theirs = 100 - MOST_OFFSET - 0.9

    assert FOUND.clock(theirs, asked=100.0, answered=100.1, exact=1.0).state is State.OK


def test_a_clock_that_is_wrong_is_said_to_be_so_by_how_much_and_where() -> None:
    assert "60 s ahead of ours" in FOUND.clock(160.0, asked=99.0, answered=100.0).sentence
    assert "60 s behind ours" in FOUND.clock(40.0, asked=100.0, answered=101.0).sentence


def test_a_load_needs_disk_by_its_messages_and_the_queues_no_more_than_the_backlog() -> None:
    small, large = (need_of(LOAD, max_backlog=backlog) for backlog in (1000, 10_000_000))

    assert small.rabbitmq < large.rabbitmq
    assert small.postgresql == large.postgresql > LOG_BYTES
    assert small.together == small.rabbitmq + small.postgresql + small.neo4j


def test_a_load_for_one_service_needs_one_store_and_half_of_the_queues() -> None:
    both, one = need_of(LOAD, max_backlog=10**9), need_of(LOAD, max_backlog=10**9, services=[Service.TABLEINATOR])

    assert one == Need(both.rabbitmq // 2, both.postgresql, 0)
    assert need_of(LOAD, max_backlog=1, services=[]) == both  # nothing is looked at, so nothing makes it pause


def test_a_dump_needs_disk_by_the_size_of_its_files(tmp_path: Path) -> None:
    path = tmp_path / "discogs_20260301_artists.xml.gz"
    path.write_bytes(b"\0" * 1_000_000)
    load = DumpLoad("20260301", (DumpFile(path, "artists", "20260301"),))

    assert need_of(load, max_backlog=200_000).neo4j - LOG_BYTES == 3_360_000


def test_the_brokers_disk_is_compared_with_the_load() -> None:
    need = need_of(LOAD, max_backlog=200_000)
    full = {**NODE, "disk_free": NODE["disk_free_limit"]}

    assert broker_disk([NODE], need).state is State.OK
    assert broker_disk([NODE, full], need).state is State.FAILED
    assert "EXTRACTOR_MAX_BACKLOG" in broker_disk([full], need).sentence
    assert broker_disk([full], None).state is State.OK
    assert broker_disk([{"name": "a node"}], need).state is State.UNKNOWN
    assert broker_disk([{**NODE, "disk_free": "disk_free_monitoring_disabled"}], need).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("limit", "max_backlog", "state"),
    [
        (500 * 2**20, ExtractorSettings().extractor_max_backlog, State.OK),  # as docker-compose.yml has it
        (500 * 2**20, 1_600_000, State.WARNING),
        (16 * 2**30, 1_600_000, State.OK),
        ("unknown", 1, State.UNKNOWN),
    ],
)
def test_what_may_wait_in_the_queues_is_compared_with_the_brokers_memory(
    limit: object, max_backlog: int, state: State
) -> None:
    """Fault 92."""
    check = broker_memory([{**NODE, "mem_limit": limit}], max_backlog)

    assert check.state is state
    assert (state is State.WARNING) == ("EXTRACTOR_MAX_BACKLOG" in check.sentence)


@pytest.mark.parametrize("alarm", ["disk_free_alarm", "mem_alarm"])
def test_an_alarm_of_the_broker_fails(alarm: str) -> None:
    assert broker_disk([{**NODE, alarm: True}], None).state is State.FAILED


def test_a_disk_that_all_servers_share_must_hold_all_of_it() -> None:
    need = need_of(LOAD, max_backlog=200_000)

    assert shared_disk("/data", need.together, need).state is State.OK
    assert shared_disk("/data", need.together - 1, need).state is State.FAILED
    assert shared_disk("/data", 0, None).state is State.OK
    assert common_disk(Path("/"), None).state is State.OK
    assert common_disk(Path("/no/such/folder"), need).state is State.UNASKED


def test_what_can_not_be_known_is_said_and_is_no_fault() -> None:
    check = store_disk("Neo4j", 5_000_000_000)

    assert check.state is State.UNKNOWN
    assert "5 GB" in check.sentence
    assert verdict([check]) == 0


def settings(**environ: str) -> list[tuple[str, State]]:
    return [(check.server, check.state) for check in settings_checks(environ) if check.state is not State.OK]


def test_defaults_are_in_order() -> None:
    assert settings() == []


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"POSTGRES_PREFETCH": "100"}, [("tableinator", State.FAILED)]),
        ({"NEO4J_BATCH_SIZE": "none"}, [("graphinator", State.FAILED)]),
        ({"EXTRACTOR_MAX_BACKLOG": "0"}, [("extractor", State.FAILED)]),
        (
            {"KINDS": "songs"},
            [(program, State.FAILED) for program in ("graphinator", "tableinator", "extractor", "spindle")],
        ),
        ({"CHECK_RATE": "0"}, [("spindle", State.FAILED)]),
        ({"STATUS_TABLEINATOR": "nowhere"}, [("spindle", State.FAILED)]),
        ({"POSTGRES_PREFETCH": "1600"}, [("tableinator", State.WARNING)]),
        ({"NEO4J_BATCH_MODE": "false"}, [("graphinator", State.WARNING)]),
        ({"NEO4J_BATCHSIZE": "100"}, [("environment", State.WARNING)]),
        ({"EXTRACTOR_MAX_BACKLOG": "9", "STATUS_TABLEINATOR": "none"}, []),
    ],
)
def test_settings_that_would_fail_or_be_slow_are_found(environ: dict[str, str], found: list[tuple[str, State]]) -> None:
    assert settings(**environ) == found


def test_the_worst_check_decides_the_exit_code() -> None:
    ok = FOUND.ok("one", "Good.")

    assert verdict([ok]) == 0
    assert verdict([ok, FOUND.warning("two", "Hm.")]) == 1
    assert verdict([ok, FOUND.warning("two", "Hm."), FOUND.unasked("four", "Nobody answers.")]) == 2
    assert as_data([FOUND.unasked("four", "Nobody answers.")])["verdict"] == "unknown"
    assert verdict([FOUND.failed("three", "No."), FOUND.warning("two", "Hm."), ok]) == 2
    assert as_data([replace(ok, state=State.FAILED)]) == {
        "verdict": "failed",
        "checks": [{"server": "A server", "name": "one", "state": "failed", "sentence": "Good."}],
    }


@pytest.mark.parametrize(
    ("size", "words"), [(999, "999 bytes"), (1_500_000, "1.5 MB"), (65e9, "65 GB"), (2.5e12, "2.5 TB")]
)
def test_sizes_are_said_in_words(size: float, words: str) -> None:
    assert in_words(size) == words
