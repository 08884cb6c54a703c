"""What records are counted as, also where the answer to a commit was lost."""

import msgspec

from common.outcomes import Outcome, Outcomes
from common.progress import count
from common.storing.lost_commits import LostCommits
from graphinator.steps import outcomes_of

NEW, CHANGED, UNCHANGED, STALE = Outcome.NEW, Outcome.CHANGED, Outcome.UNCHANGED, Outcome.STALE


class Stored(msgspec.Struct, frozen=True):
    """A record as doubts see it."""

    id: str
    hash: str = "hash"
    version: str | None = None


def records(*ids: str) -> list[Stored]:
    return [Stored(one) for one in ids]


def test_every_outcome_is_counted() -> None:
    assert count([NEW, NEW, CHANGED, STALE]) == Outcomes(new=2, changed=1, stale=1)


def test_what_no_list_of_the_graphs_names_is_unchanged() -> None:
    assert outcomes_of(5, new=[4], changed=[0, 2], stale=[1]) == [CHANGED, STALE, CHANGED, UNCHANGED, NEW]


def test_after_a_lost_answer_what_looks_unchanged_is_what_it_was_decided_to_be() -> None:
    doubts = LostCommits()
    doubts.remember(records("1", "2", "3"), [NEW, CHANGED, UNCHANGED])

    assert doubts.settle(records("1", "2", "3"), [UNCHANGED] * 3) == [NEW, CHANGED, UNCHANGED]


def test_a_lost_answer_counts_once() -> None:
    """Fault 18."""
    doubts = LostCommits()
    doubts.remember(records("1"), [NEW])
    doubts.settle(records("1"), [UNCHANGED])

    assert doubts.settle(records("1"), [UNCHANGED]) == [UNCHANGED]
    assert len(doubts) == 0


def test_a_commit_that_never_happened_leaves_the_second_decision() -> None:
    doubts = LostCommits()
    doubts.remember(records("1", "2"), [NEW, CHANGED])

    assert doubts.settle(records("1", "2"), [NEW, STALE]) == [NEW, STALE]
    assert doubts.settle(records("1", "2"), [UNCHANGED, UNCHANGED]) == [UNCHANGED, UNCHANGED]


def test_another_content_of_the_same_record_has_no_part_in_it() -> None:
    doubts = LostCommits()
    doubts.remember([Stored("1", "old")], [NEW])

    assert doubts.settle([Stored("1", "other")], [UNCHANGED]) == [UNCHANGED]


def test_a_record_without_hash_looks_changed_and_is_what_it_was() -> None:
    doubts = LostCommits()
    doubts.remember([Stored("1", "")], [NEW])

    assert doubts.settle([Stored("1", "")], [CHANGED]) == [NEW]


def test_the_first_decision_counts_until_it_is_settled() -> None:
    doubts = LostCommits()
    doubts.remember([Stored("1", "")], [NEW])
    doubts.remember([Stored("1", "")], [CHANGED])

    assert doubts.settle([Stored("1", "")], [CHANGED]) == [NEW]


def test_doubts_are_bounded_and_the_oldest_goes_first() -> None:
    doubts = LostCommits(most=2)

    doubts.remember(records("1", "2", "3"), [NEW] * 3)

    assert len(doubts) == 2
    assert doubts.settle(records("1", "2", "3"), [UNCHANGED] * 3) == [UNCHANGED, NEW, NEW]
