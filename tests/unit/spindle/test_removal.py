"""What must be true before anything is removed: each precondition refuses alone; all that fail are named."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.loads import Load, State, Totals
from extractor.manifest.format import Header
from spindle.checking.classes import Class, Counts
from spindle.checking.diff import Result, Subject
from spindle.removal.command import refused
from spindle.removal.preconditions import Facts, bound

LOAD, BEFORE, AFTER = "20260901", "20260801", "20261001"
CHECKED = datetime(2026, 9, 5, tzinfo=UTC)


def header(rows: int = 100_000, **more: Any) -> Header:
    whole = Header(
        load=LOAD,
        kind="artists",
        file="f",
        bytes=1,
        extractor="0",
        normaliser=1,
        complete=True,
        checksum="matched",
        rows=rows,
    )
    return msgspec.structs.replace(whole, **more)


def result(gone: int = 10, **counts: int) -> Result:
    found = Counts()
    found.of[Class.GONE] = gone
    for name, count in counts.items():
        found.of[Class[name]] = count
    moment = CHECKED.isoformat()
    return Result(Subject(LOAD, "artists", "neo4j", "d", "one"), moment, moment, found, Path("x"))


def ledger(
    load: str = BEFORE,
    *,
    removed: int | None = None,
    wrote: datetime | None = None,
    manifest: str = "d",
    gone: int = 10,
) -> Load:
    known = Load(load=load, kind="artists", state=State.COMPLETE, removed=removed, totals=Totals(at=wrote))
    return replace(known, manifest=manifest, gone=gone)


def facts(**more: Any) -> Facts:
    fine: dict[str, Any] = {"header": header(), "result": result(), "store": "neo4j", "kind": "artists"}
    found = Facts(**{**fine, "newest_manifest": LOAD, "newest_stored": LOAD, **more})
    return replace(found, ledger=[*found.ledger, ledger(LOAD, gone=found.gone)])


@pytest.mark.parametrize("checksum", ["matched", "made"])
def test_a_dump_that_matches_its_checksum_is_whole_and_so_are_made_up_records(checksum: str) -> None:
    assert refused([facts(header=header(checksum=checksum))], LOAD, None) == []


def test_a_load_that_is_no_date_removes_nothing() -> None:
    """`zzz` would be newer than every load."""
    problems = refused([facts(header=header(load="zzz"))], "zzz", None)

    assert any("'zzz' is not a load's date" in problem for problem in problems)


def test_a_removal_with_everything_in_order_is_allowed() -> None:
    older = ledger(wrote=CHECKED - timedelta(days=20))

    assert refused([facts(ledger=[older, ledger(LOAD, wrote=CHECKED + timedelta(days=1))])], LOAD, None) == []


@pytest.mark.parametrize("known", [[], [ledger(LOAD, manifest="x")], [ledger(LOAD, gone=11)]])
def test_a_check_that_the_store_does_not_know_is_none_of_it(known: list[Load]) -> None:
    """A result of another server, or of one that was restored since."""
    [problem] = refused([replace(facts(), ledger=known)], LOAD, None)

    assert "the store's own ledger has no such check" in problem


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"header": header(complete=False)}, "the manifest is not complete"),
        ({"header": header(checksum="absent")}, "checksum is absent, not matched"),
        ({"header": header(unknown_skipped=2)}, "2 records of the dump were skipped whose ids nobody knows"),
        ({"header": header(ids_only=True)}, "ids only"),
        ({"result": None, "problem": "it was not checked"}, "it was not checked"),
        ({"result": result(LOST=3, DIFFERENT=4)}, "not clean: 3 lost, 4 different"),
        (
            {"ledger": [ledger(wrote=CHECKED + timedelta(seconds=1))]},
            f"records of {BEFORE} were written after the check",
        ),
        ({"ledger": [ledger(AFTER)]}, f"{LOAD} is not the newest load, {AFTER} is"),
        ({"newest_stored": AFTER}, f"{AFTER} is"),
        ({"newest_manifest": AFTER}, f"{AFTER} is"),
        ({"waiting": 7}, "7 messages wait in its queue or with its service"),
        ({"waiting": None, "untold": "q does not exist"}, "nobody can tell what is on its way: q does not exist"),
        ({"older_letters": 5}, "5 dead letters are of an older load"),
    ],
)
def test_each_precondition_refuses_alone(wrong: dict[str, Any], sentence: str) -> None:
    [problem] = refused([facts(**wrong)], LOAD, None)

    assert problem.startswith("artists in neo4j: ")
    assert sentence in problem
    # Beyond the bound an operator may go, and never past a precondition.
    gone = facts(**wrong).gone
    assert problem in refused([facts(**wrong)], LOAD, gone)


def test_all_that_fails_is_named() -> None:
    problems = refused([facts(waiting=7, older_letters=5), facts(result=result(501), newest_stored=AFTER)], LOAD, None)

    assert len(problems) == 5


@pytest.mark.parametrize(
    ("rows", "largest", "allowed"),
    [
        (999, None, 5),
        (999, 1000, 5),
        (1000, None, 5),
        (100_000, None, 500),
        (100_000, 0, 500),
        (100_000, 20, 100),
        (100_000, 1000, 500),
        (0, None, 5),
    ],
)
def test_a_bound_is_a_share_and_a_multiple_of_the_largest(rows: int, largest: int | None, allowed: int) -> None:
    known: Sequence[Load] = (
        [ledger("20260701", removed=largest), ledger(LOAD, removed=100_000)] if largest is not None else []
    )

    assert bound(facts(header=header(rows), ledger=known)) == allowed


def test_beyond_the_bound_nothing_is_allowed_but_exactly_what_is_gone() -> None:
    within, beyond = facts(), replace(facts(result=result(501)), store="postgresql")
    parts = [within, beyond]

    assert refused([facts(result=result(500))], LOAD, None) == []
    problems = refused(parts, LOAD, None)
    assert problems == [
        "artists in postgresql: 501 of 100,000 records are gone (0.50%), and at most 500 are removed unasked.",
        f"If all of it is really to go: spindle remove {LOAD} --exactly 511",
    ]
    assert refused(parts, LOAD, 511) == []
    for other in (0, 501, 510, 512):
        assert refused(parts, LOAD, other) == [
            f"--exactly {other} is not what is gone: 511, in all kinds and stores together."
        ]
