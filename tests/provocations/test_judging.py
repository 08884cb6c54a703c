"""What counts as the expected finding."""

from typing import Any

import pytest

from spindle.advice.limits import Limit
from tests.provocations import __main__ as command  # noqa: F401  (it fills the list)
from tests.provocations.judging import is_right
from tests.provocations.situations import SITUATIONS

NOT_PROVOKED = {Limit.BALANCED, Limit.PREFETCH, Limit.UNKNOWN}
"""Two stages alike are chance, a service refuses a prefetch that is too small, and what is unknown can't be made."""


def advice(*limits: Limit, limit: Limit | None = None, judged: bool = True) -> dict[str, Any]:
    return {"findings": [{"limit": each} for each in limits], "limit": limit, "judged": judged}


@pytest.mark.parametrize(
    ("found", "right"),
    [
        (advice(Limit.STORE), True),
        (advice(Limit.RETRIES, Limit.STORE), True),
        (advice(Limit.RETRIES), False),
        (advice(Limit.STORE, Limit.CPU), False),
        (advice(), False),
    ],
)
def test_the_expected_finding_must_be_there_and_nothing_but_what_may_be_beside(
    found: dict[str, Any], right: bool
) -> None:
    assert is_right(Limit.STORE, {Limit.RETRIES}, found) is right


@pytest.mark.parametrize(
    ("found", "right"),
    [
        (advice(limit=Limit.PUBLISHER), True),
        (advice(limit=Limit.NOTHING_TO_DO), False),
        (advice(judged=False), False),
        (advice(Limit.DUPLICATES, limit=Limit.DUPLICATES), False),
    ],
)
def test_a_healthy_run_has_no_finding_and_is_judged(found: dict[str, Any], right: bool) -> None:
    assert is_right(Limit.PUBLISHER, (), found) is right


def test_every_limit_has_its_situation_but_those_that_can_not_be_made() -> None:
    assert {each.expected for each in SITUATIONS} == set(Limit) - NOT_PROVOKED
