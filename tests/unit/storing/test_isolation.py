"""Isolation: everything good is stored, exactly the bad is named, at a bounded price."""

import asyncio
import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from common.errors import BatchTooLarge, Reason, RecordsRefused, Refusal
from common.outcomes import Outcomes
from common.storing.isolation import Refused, Stored, Suspected, isolate

REFUSAL = Refusal("Error", "22000", "no")


class Store:
    """Takes whole batches without bad records."""

    def __init__(self, bad: set[int], *, named: bool = False, certain: bool = True, most: int = 10**9) -> None:
        self.bad, self.named, self.certain, self.most = bad, named, certain, most
        self.stored: list[int] = []
        self.transactions = 0

    async def write(self, items: Sequence[int]) -> Outcomes:
        self.transactions += 1
        if len(items) > self.most:
            raise BatchTooLarge(REFUSAL)
        positions = [position for position, item in enumerate(items) if item in self.bad]
        if positions:
            raise RecordsRefused(REFUSAL, positions=positions[:1] if self.named else None, certain=self.certain)
        self.stored.extend(items)
        return Outcomes(new=len(items))

    def isolate(self, items: list[int]) -> list[object]:
        async def collect() -> list[object]:
            return [verdict async for verdict in isolate(self.write, items)]

        return asyncio.run(collect())


@given(size=st.integers(1, 300), bad=st.sets(st.integers(0, 299), max_size=20), named=st.booleans())
def test_the_good_are_stored_and_exactly_the_bad_refused(size: int, bad: set[int], named: bool) -> None:
    store = Store(bad, named=named)
    items = list(range(size))

    verdicts = store.isolate(items)

    refused = {verdict.item for verdict in verdicts if isinstance(verdict, Refused)}
    assert refused == bad & set(items)
    assert sorted(store.stored) == sorted(set(items) - bad)


@given(size=st.integers(1, 600), data=st.data())
def test_a_lone_bad_record_costs_at_most_two_log_n_and_two_transactions(size: int, data: st.DataObject) -> None:
    """Fault 5."""
    store = Store({data.draw(st.integers(0, size - 1))})

    store.isolate(list(range(size)))

    assert store.transactions - 1 <= 2 * math.ceil(math.log2(size)) + 2


def test_a_named_record_costs_one_transaction_more() -> None:
    store = Store({250}, named=True)

    store.isolate(list(range(500)))

    assert store.transactions == 2


def test_what_was_stored_is_told_before_the_rest_is_tried() -> None:
    store = Store({3})

    verdicts = store.isolate([0, 1, 2, 3])

    assert verdicts[0] == Stored([0, 1], Outcomes(new=2))


def test_an_error_of_unknown_meaning_makes_a_suspect_not_a_dead_letter() -> None:
    store = Store({1}, certain=False)

    verdicts = store.isolate([0, 1])

    assert Suspected(1, REFUSAL) in verdicts


@given(size=st.integers(1, 200), most=st.integers(1, 50))
def test_a_batch_that_is_too_large_is_halved_until_it_fits(size: int, most: int) -> None:
    store = Store(set(), most=most)

    store.isolate(list(range(size)))

    assert store.stored == list(range(size))


def test_a_record_that_is_too_large_alone_is_refused() -> None:
    store = Store(set(), most=0)

    assert store.isolate([7]) == [Refused(7, Reason.TOO_LARGE, REFUSAL)]
