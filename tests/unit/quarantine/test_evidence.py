from hypothesis import given
from hypothesis import strategies as st

from common.quarantine.evidence import FloodGuard
from common.sink import Outcomes

LIMIT = 10


@given(st.lists(st.sampled_from(["unreadable", "refused", "unchanged", "new"])))
def test_what_may_be_judged_anew_makes_no_flood_of_itself(happens: list[str]) -> None:
    guard = FloodGuard(limit=LIMIT)
    for what in happens:
        match what:
            case "unreadable":
                guard.unreadable(1)
            case "refused":
                guard.refused(1)
            case "unchanged":
                guard.stored(Outcomes(unchanged=1))
            case _:
                guard.stored(Outcomes(new=1))
    if guard.holds:
        return

    assert 1 <= guard.room < LIMIT / 2
    room = guard.room
    guard.refused(room)

    assert not guard.holds or room == 1


def test_where_a_flood_is_allowed_nothing_is_remembered() -> None:
    guard = FloodGuard(limit=LIMIT, allow=True)

    guard.refused(LIMIT)

    assert not guard.holds
    assert guard.room == (LIMIT - 1) // 2
