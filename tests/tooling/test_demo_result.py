"""When a demo says that it is verified, and what its report holds."""

from pathlib import Path

import pytest

from common.errors import StartRefused
from common.outcomes import Outcome
from devstack.demo.choosing import Wish, choose_stack
from devstack.demo.result import DemoResult, KindResult, to_json
from spindle.verification.findings import StoreFindings, Verification


def part(
    *,
    findings: StoreFindings | None = None,
    published: int = 10,
    recomputed: int | None = 10,
    restarted: bool = False,
    **outcomes: int,
) -> KindResult:
    return KindResult(
        kind="artists",
        store="postgresql",
        published=published,
        outcomes={outcome: outcomes.get(outcome.value, 0) for outcome in Outcome},
        seconds=2.0,
        restarted=restarted,
        findings=found() if findings is None else findings,
        recomputed=recomputed,
    )


def found(*, missing: int = 0, newer: int = 0) -> StoreFindings:
    findings = StoreFindings(store="postgresql", kind="artists", expected=10, newer=newer)
    findings.missing.add("artists 1", missing)
    return findings


def test_a_kind_is_verified_when_counts_and_contents_agree() -> None:
    assert part(new=4, unchanged=5, superseded=1).verified


@pytest.mark.parametrize(
    "wrong",
    [
        part(new=9),
        part(new=11),
        part(new=10, recomputed=11),
        part(new=10, recomputed=None),
        part(new=10, findings=found(missing=1)),
        part(new=9, dead_lettered=1, findings=found(missing=1)),
        part(new=10, findings=found(newer=1)),
        part(new=9, restarted=True, findings=found(missing=1)),
    ],
    ids=[
        "too few outcomes",
        "too many outcomes",
        "not all published",
        "nothing recomputed",
        "a record missing",
        "a dead letter",
        "newer without being stale",
        "missing after a restart",
    ],
)
def test_a_kind_is_not_verified_when_anything_disagrees(wrong: KindResult) -> None:
    assert not wrong.verified


def test_a_newer_version_is_fine_where_the_record_was_stale() -> None:
    assert part(new=9, stale=1, findings=found(newer=1)).verified


def test_counts_that_died_with_a_process_are_named_and_no_failure() -> None:
    result = part(new=7, restarted=True)

    report = to_json(DemoResult(load="a load", date="20260101", kinds=[result]))

    assert result.verified
    assert report["kinds"]["artists"]["postgresql"] == {
        "published": 10,
        "new": 7,
        "changed": 0,
        "unchanged": 0,
        "stale": 0,
        "superseded": 0,
        "dead_lettered": 0,
        "uncounted": 3,
        "rate": 3.5,
        "seconds": 2.0,
        "restarted": True,
        "newer": 0,
        "verified": True,
    }


def test_a_demo_is_verified_only_with_all_its_parts() -> None:
    agreed = Verification("a load", stores=[StoreFindings(store="PostgreSQL", kind="artists", expected=10)])
    complete = DemoResult(load="a load", date="20260101", kinds=[part(new=10)], verification=agreed)

    assert complete.verified
    assert not DemoResult(load="a load", date="20260101", kinds=[part(new=10)]).verified
    assert not DemoResult(load="a load", date="20260101", kinds=[part(new=9)], verification=agreed).verified
    assert not DemoResult(load="a load", date="20260101", verification=agreed).verified
    complete.failure = "interrupted"
    assert not complete.verified


def test_native_processes_stand_in_where_there_is_no_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []

    stack = choose_stack(Wish.AUTO, home=tmp_path, say=said.append)

    assert stack.name == "native"
    assert said == ["native processes instead of containers: there is no docker"]


def test_containers_that_are_asked_for_and_cannot_be_had_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(StartRefused, match="can't run as containers: there is no docker"):
        choose_stack(Wish.COMPOSE, home=tmp_path, say=lambda _: None)
