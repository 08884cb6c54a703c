"""Verdicts, and what is remembered of a commit whose answer was lost."""

import pytest

from common.sink import Outcomes
from graphinator.projection import GraphRecord
from graphinator.verdicts import LostAnswers, Verdict, outcomes_of, verdicts_of

NEW, CHANGED, UNCHANGED, STALE = Verdict.NEW, Verdict.CHANGED, Verdict.UNCHANGED, Verdict.STALE


def record(record_id: str, sha256: str = "hash") -> GraphRecord:
    return GraphRecord(record_id, sha256, None, [], [])


def test_what_no_list_names_is_unchanged() -> None:
    assert verdicts_of(5, new=[4], changed=[0, 2], stale=[1]) == [CHANGED, STALE, CHANGED, UNCHANGED, NEW]


def test_every_verdict_is_counted() -> None:
    assert outcomes_of([NEW, NEW, CHANGED, STALE]) == Outcomes(new=2, changed=1, stale=1)


def test_after_a_lost_answer_what_looks_unchanged_is_what_it_was_decided_to_be() -> None:
    lost, records = LostAnswers(), [record("1"), record("2"), record("3")]
    lost.remember(records, [NEW, CHANGED, UNCHANGED])

    assert lost.settle(records, [UNCHANGED, UNCHANGED, UNCHANGED]) == [NEW, CHANGED, UNCHANGED]


def test_a_lost_answer_counts_once() -> None:
    lost, records = LostAnswers(), [record("1")]
    lost.remember(records, [NEW])
    lost.settle(records, [UNCHANGED])

    assert lost.settle(records, [UNCHANGED]) == [UNCHANGED]


def test_a_commit_that_never_happened_leaves_the_second_verdict() -> None:
    lost, records = LostAnswers(), [record("1"), record("2")]
    lost.remember(records, [NEW, CHANGED])

    assert lost.settle(records, [NEW, STALE]) == [NEW, STALE]
    assert lost.settle(records, [UNCHANGED, UNCHANGED]) == [UNCHANGED, UNCHANGED]


def test_another_content_of_the_same_record_has_no_part_in_it() -> None:
    lost = LostAnswers()
    lost.remember([record("1", "old")], [NEW])

    assert lost.settle([record("1", "other")], [UNCHANGED]) == [UNCHANGED]


def test_a_record_without_hash_looks_changed_and_is_what_it_was() -> None:
    lost = LostAnswers()
    lost.remember([record("1", "")], [NEW])

    assert lost.settle([record("1", "")], [CHANGED]) == [NEW]


def test_the_first_decision_counts_until_it_is_settled() -> None:
    lost = LostAnswers()
    lost.remember([record("1", "")], [NEW])
    lost.remember([record("1", "")], [CHANGED])

    assert lost.settle([record("1", "")], [CHANGED]) == [NEW]


def test_memory_of_lost_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LostAnswers, "LIMIT", 2)
    lost, records = LostAnswers(), [record("1"), record("2"), record("3")]

    lost.remember(records, [NEW, NEW, NEW])

    assert lost.settle(records, [UNCHANGED] * 3) == [UNCHANGED, NEW, NEW]
