"""How many deliveries are asked for after too many bytes have waited."""

from common.rabbitmq.consuming.prefetch import FIRST_WAIT, LONGEST_WAIT, Prefetch


def narrowed(at: float = 1000.0) -> Prefetch:
    prefetch = Prefetch(200)
    prefetch.narrow(3, at)
    return prefetch


def test_at_first_all_are_asked_for() -> None:
    prefetch = Prefetch(200)

    assert (prefetch.size, prefetch.may_widen(1000, 1e9)) == (200, False)


def test_a_store_that_takes_records_again_gets_the_whole_prefetch() -> None:
    """Fault 79."""
    prefetch = narrowed()

    assert prefetch.size == 3
    assert prefetch.may_widen(6, 1000.0 + FIRST_WAIT)
    prefetch.widen()
    assert (prefetch.size, prefetch.is_narrow) == (200, False)


def test_what_it_began_with_proves_nothing() -> None:
    assert not narrowed().may_widen(5, 5000.0)


def test_it_stays_narrow_for_a_while() -> None:
    assert not narrowed().may_widen(100, 1000.0 + FIRST_WAIT - 1)


def test_where_it_has_to_be_narrowed_again_soon_it_stays_so_for_longer() -> None:
    prefetch, now, waits = narrowed(), 1000.0, []
    for _ in range(10):
        since = now
        while not prefetch.may_widen(6, now):
            now += 1
        waits.append(now - since)
        prefetch.widen()
        now += 10.0  # as long as the socket may stay unread
        prefetch.narrow(3, now)

    assert waits[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert waits[-1] == LONGEST_WAIT


def test_after_a_long_time_it_begins_anew() -> None:
    prefetch = narrowed()
    prefetch.widen()
    prefetch.narrow(3, 5000.0)

    assert prefetch.may_widen(6, 5000.0 + FIRST_WAIT)
