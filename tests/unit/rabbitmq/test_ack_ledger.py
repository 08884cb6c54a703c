"""The ledger's invariants, against a model of what a broker does with acknowledgements."""

from collections.abc import Iterable, Sized

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from common.rabbitmq.consuming.ack_ledger import Ack, AckLedger

PREFETCH = 20


class Channel(RuleBasedStateMachine):
    """Any order of bursts, settlements and acknowledgements that one channel may see, and the broker's side of it."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = AckLedger(prefetch=PREFETCH)
        self.outstanding: set[int] = set()  # what the broker waits for
        self.settled: set[int] = set()
        self.arrived: dict[int, float] = {}  # when each tag came

    @property
    def open(self) -> list[int]:
        return sorted(self.arrived.keys() - self.settled)

    @rule(count=st.integers(1, 8))
    def receive_a_burst(self, count: int) -> None:
        last, at = len(self.arrived), float(len(self.arrived))
        burst = range(last + 1, last + count + 1)
        self.arrived.update((tag, at) for tag in burst)
        self.outstanding.update(burst)
        self.ledger.receive(last + count, at)

    @rule(data=st.data())
    def settle_some(self, data: st.DataObject) -> None:
        if self.open:
            tags = data.draw(st.lists(st.sampled_from(self.open), unique=True, max_size=10))
            self.ledger.settle(tags)
            self.settled.update(tags)

    @rule(count=st.integers(1, 30))
    def settle_the_oldest(self, count: int) -> None:
        tags = self.open[:count]
        self.ledger.settle(tags)
        self.settled.update(tags)

    @rule()
    def acknowledge_what_is_due(self) -> None:
        acks = self.ledger.take()

        self._answer(acks)
        behind_a_gap = self.settled & self.outstanding
        gaps = [tag for tag in self.open if tag < max(self.settled, default=0)]
        assert len(behind_a_gap) * 2 <= max(PREFETCH - len(gaps), 0), "settled deliveries fill the prefetch"
        assert sum(ack.multiple for ack in acks) <= 1

    @rule()
    def acknowledge_singly_before_the_end(self) -> None:
        self._answer(self.ledger.take())
        self._answer(self.ledger.take_singly())

        assert not self.settled & self.outstanding

    @invariant()
    def the_unsettled_are_counted_right(self) -> None:
        assert self.ledger.unsettled == len(self.open)

    @invariant()
    def the_oldest_is_the_arrival_of_the_lowest_unsettled_tag(self) -> None:
        assert self.ledger.oldest == (self.arrived[self.open[0]] if self.open else None)

    def teardown(self) -> None:
        """Once everything is settled, everything is acknowledged."""
        self.settle_the_oldest(len(self.arrived))
        self._answer(self.ledger.take())
        assert not self.outstanding

    @invariant()
    def no_more_is_remembered_than_the_broker_waits_for(self) -> None:
        assert remembered(self.ledger) <= len(self.outstanding | set(self.open))

    def _answer(self, acks: Iterable[Ack]) -> None:
        for ack in acks:
            # Each tag at most once, and never one that isn't outstanding: the broker would close the channel.
            assert ack.tag in self.outstanding
            covered = {tag for tag in self.outstanding if tag <= ack.tag} if ack.multiple else {ack.tag}
            assert covered <= self.settled
            self.outstanding -= covered


TestAckLedger = Channel.TestCase


def remembered(ledger: AckLedger) -> int:
    """How many things it holds, in whatever it holds them."""
    return sum(len(held) for held in vars(ledger).values() if isinstance(held, Sized))


def ledger(received: int, prefetch: int = PREFETCH) -> AckLedger:
    made = AckLedger(prefetch=prefetch)
    made.receive(received, 1.0)
    return made


def test_one_acknowledgement_covers_a_whole_prefix() -> None:
    made = ledger(10)
    made.settle([3, 1, 2, 5])

    assert made.take() == [Ack(3, multiple=True)]


def test_an_acknowledgement_is_given_out_once() -> None:
    made = ledger(10)
    made.settle([1, 2])

    assert (made.take(), made.take()) == ([Ack(2, multiple=True)], [])


def test_up_to_half_of_the_prefetch_waits_behind_a_gap() -> None:
    made = ledger(20)
    made.settle(range(2, 11))

    assert made.take() == []


def test_more_than_half_of_the_prefetch_behind_a_gap_is_acknowledged_singly() -> None:
    made = ledger(20)
    made.settle(range(2, 13))

    assert made.take() == [Ack(tag, multiple=False) for tag in range(2, 13)]


def test_gaps_that_take_most_of_the_prefetch_do_not_stop_the_rest() -> None:
    made = ledger(20)
    made.settle([18, 19, 20])

    assert made.take() == [Ack(tag, multiple=False) for tag in (18, 19, 20)]


def test_a_tag_that_was_acknowledged_singly_is_not_named_again() -> None:
    made = ledger(4)
    made.settle([2, 3, 4])
    made.take_singly()
    made.settle([1])

    assert made.take() == [Ack(1, multiple=True)]


def test_behind_a_gap_nothing_is_remembered_that_was_acknowledged() -> None:
    """Fault 81: 77 bytes a record, 5 GB in an hour at full speed, and 0.9 s for the loop when the gap closes."""
    made = ledger(1)
    for last in range(11, 100_000, 10):
        made.receive(last, float(last))
        made.settle(range(last - 9, last + 1))
        made.take()

    assert remembered(made) <= PREFETCH
    made.settle([1])
    made.take()
    assert (made.prefix, made.unsettled, made.waiting) == (99_991, 0, None)


@pytest.mark.parametrize("tag", [1, 4, 5, 11, 0, -1])
def test_a_tag_that_is_not_outstanding_is_refused(tag: int) -> None:
    made = ledger(10)
    made.settle([1, 2, 4, 5])
    made.take_singly()

    with pytest.raises(ValueError, match=f"tag {tag} is not outstanding"):
        made.settle([tag])
