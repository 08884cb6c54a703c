from hypothesis import given
from hypothesis import strategies as st

from common.outcomes import Outcomes
from common.quarantine.evidence import Credit

MOST = 9


@given(st.lists(st.sampled_from(["unreadable", "refused", "unchanged", "new"])))
def test_between_two_written_records_no_more_is_spent_than_there_is_credit(happens: list[str]) -> None:
    """An unchanged record gives back what unreadable ones have spent, and nothing else."""
    credit = Credit(most=MOST)
    unreadable = refused = 0
    for what in happens:
        match what:
            case "unreadable":
                unreadable += credit.spend(unreadable=True)
            case "refused":
                refused += credit.spend()
            case "unchanged":
                credit.stored(Outcomes(unchanged=1))
                unreadable = 0
            case _:
                credit.stored(Outcomes(new=1))
                unreadable = refused = 0

        assert credit.left == MOST - unreadable - refused >= 0


def test_if_a_flood_is_allowed_there_is_always_credit() -> None:
    credit = Credit(most=MOST, is_limited=False)

    assert all(credit.spend() for _ in range(10 * MOST))
