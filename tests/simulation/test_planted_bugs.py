"""A simulator that finds nothing proves nothing: bugs are planted in the runtime, and each must be found soon."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import common.batching.batch
from common.backoff import Backoff, Strategy
from common.batching.batch import Batch, deliveries
from common.batching.stream import Stream
from common.dead_letters import DeadLetter
from common.errors import RecordsRefused, Refusal
from common.outcomes import Outcomes
from common.pipeline.bookkeeper import Bookkeeper
from common.pipeline.writers import Writers
from common.progress import Progress
from common.rabbitmq import topology
from common.rabbitmq.consuming.ack_ledger import Ack, AckLedger
from common.rabbitmq.consuming.fast import parser
from common.rabbitmq.consuming.prefetch import Prefetch
from common.rabbitmq.consuming.subscription import Subscription
from common.rabbitmq.publishing.dead_letters import DeadLetterPublisher
from common.storing.breaker import Breaker
from common.storing.verdicts import verdicts
from tests.simulation.__main__ import RESULT, main
from tests.simulation.fast_end import FRAME_MAX
from tests.simulation.scenarios import draw
from tests.simulation.shrink import shrink
from tests.simulation.simulate import simulate
from tests.simulation.story import Story
from tests.simulation.totals import run

SEEDS = 1000

Plant = Callable[[pytest.MonkeyPatch], None]


def ack_before_commit(patch: pytest.MonkeyPatch) -> None:
    """Settles a batch when it is taken, and writes it then."""

    async def store(self: Any, batch: Batch[Any], turn: Any) -> bool:
        self._settling.settle(batch.items, Outcomes(new=len(batch.items)), losers=batch.losers)
        async for _ in verdicts(self._writer, batch, turn):
            pass
        return True

    patch.setattr(Writers, "_store", store)


def batch_lost_on_cancel(patch: pytest.MonkeyPatch) -> None:
    """A writer that is cancelled puts its batch in order before it goes, and takes it for done."""
    real = Writers._store

    async def store(self: Any, batch: Batch[Any], turn: Any) -> bool:
        try:
            return await real(self, batch, turn)
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._settling._source.settle(deliveries(batch.all))
            raise

    patch.setattr(Writers, "_store", store)


def batch_lost_on_consumer_cancel(patch: pytest.MonkeyPatch) -> None:
    """A consumer that the broker cancels acknowledges all it has."""
    real = Subscription.break_off

    def break_off(self: Any, reason: str) -> None:
        self._ledger.settle(list(self._ledger._unsettled))
        real(self, reason)

    patch.setattr(Subscription, "break_off", break_off)


def requeue_in_outage(patch: pytest.MonkeyPatch) -> None:
    """Gives everything back as soon as the store is away, for the broker to keep."""
    real = Writers._deliver

    async def deliver(self: Any, batch: Batch[Any], turn: Any) -> None:
        if not self._writer._breaker.is_open:
            await real(self, batch, turn)
            return
        await self._settling._source.hand_back()
        self._batcher.done(batch.all)
        self._batcher.discard_expired()
        await asyncio.sleep(1.0)
        await self._settling._source.resume()

    patch.setattr(Writers, "_deliver", deliver)


def acknowledged_twice(patch: pytest.MonkeyPatch) -> None:
    """The ledger forgets what a multiple acknowledgement has covered."""
    real = AckLedger.take

    def take(self: Any) -> list[Ack]:
        return real(self) or [Ack(self.prefix, multiple=True)][: self.prefix]

    patch.setattr(AckLedger, "take", take)


def id_in_two_batches(patch: pytest.MonkeyPatch) -> None:
    """The batcher does not look at what is in flight."""
    patch.setattr(Stream, "begin", lambda self, items: None)
    patch.setattr(Stream, "done", lambda self, items: None)


def dead_letter_in_outage(patch: pytest.MonkeyPatch) -> None:
    """Takes a store that is away for one that refuses the records."""

    def failed(self: Any, error: Exception, probe: object, *, is_made_up: bool) -> None:
        raise RecordsRefused(Refusal("Planted", "", ""), positions=None, certain=True)

    patch.setattr(Breaker, "failed", failed)


def stale_version_wins(patch: pytest.MonkeyPatch) -> None:
    """Of two versions in a batch the later one wins, whatever load it is of."""
    patch.setattr(common.batching.batch, "_older", lambda version, other: False)


def letter_taken_for_confirmed(patch: pytest.MonkeyPatch) -> None:
    """Settles the original when its dead letter is published, and not when that is confirmed."""
    real = DeadLetterPublisher.put

    def put(self: Any, letters: Iterator[DeadLetter]) -> None:
        at_once = list(letters)
        real(self, at_once)
        for letter in at_once:
            self._on_confirmed(letter)

    patch.setattr(DeadLetterPublisher, "put", put)


def spins_in_outage(patch: pytest.MonkeyPatch) -> None:
    """Waits a hundredth of a second between two tries, forever."""
    real = Breaker.__init__

    def init(self: Any, **given: Any) -> None:
        real(self, **(given | {"backoff": Backoff(Strategy.FIXED, base=0.02, cap=0.02)}))

    patch.setattr(Breaker, "__init__", init)


def waits_without_end(patch: pytest.MonkeyPatch) -> None:
    """Doubles the wait between two tries, whatever the cap."""
    patch.setattr(Backoff, "ceilings", lambda self: (self.base * 2**times for times in itertools.count()))


def batch_too_long(patch: pytest.MonkeyPatch) -> None:
    """Takes one record too many."""
    real = Stream.take_run

    def take_run(self: Any, *, size: int, max_bytes: int) -> tuple[list[Any], bool]:
        return real(self, size=size + 1, max_bytes=max_bytes)

    patch.setattr(Stream, "take_run", take_run)


def default_delivery_limit(patch: pytest.MonkeyPatch) -> None:
    """Leaves a queue's delivery limit to the broker, which is 20 from 4.0 on."""
    patch.setattr(topology, "_arguments", lambda connection: {"x-queue-type": "quorum"})


def narrow_forever(patch: pytest.MonkeyPatch) -> None:
    """A prefetch that was narrowed in an outage stays so for the life of the connection."""
    patch.setattr(Prefetch, "may_widen", lambda self, settled, now: False)


def widened_at_once(patch: pytest.MonkeyPatch) -> None:
    """A narrow prefetch is widened with the first record that the store takes, and soon narrowed again."""
    patch.setattr(Prefetch, "may_widen", lambda self, settled, now: self.is_narrow and settled > 0)


def acknowledged_remembered(patch: pytest.MonkeyPatch) -> None:
    """The ledger remembers each tag that it has acknowledged behind a gap, until the gap closes."""
    real, real_take = AckLedger.take_singly, AckLedger.take

    def take_singly(self: Any) -> list[Ack]:
        acks = real(self)
        self.singly = getattr(self, "singly", set()) | {ack.tag for ack in acks}
        return acks

    def take(self: Any) -> list[Ack]:
        self.singly = {tag for tag in getattr(self, "singly", set()) if tag > self.prefix}
        return real_take(self)

    patch.setattr(AckLedger, "take_singly", take_singly)
    patch.setattr(AckLedger, "take", take)


def pause_read_and_not_obeyed(patch: pytest.MonkeyPatch) -> None:
    """Reads that a kind is paused, shows it, and consumes all the same."""

    async def obey(self: Any, view: Any) -> None:
        self.pause = view.pause

    patch.setattr(Bookkeeper, "_obey", obey)


def header_no_larger_than_a_frame(patch: pytest.MonkeyPatch) -> None:
    """A header to which the broker has added what it counts is taken for a broken frame."""
    patch.setattr(parser, "HEADER_MAX", FRAME_MAX - parser.OVERHEAD)


def errors_lost_with_a_note(patch: pytest.MonkeyPatch) -> None:
    """Forgets the errors that a note has taken, if the store does not take it."""

    @contextmanager
    def taking_errors(self: Any) -> Iterator[Any]:
        taken, self._errors = self._errors, {}
        yield taken

    patch.setattr(Progress, "taking_errors", taking_errors)


RARE: dict[Plant, int] = {
    default_delivery_limit: 400,
    narrow_forever: 200,
    widened_at_once: 200,
    acknowledged_remembered: 350,
}
"""Where the search begins for what few stories have in them: a message that is given out 20 times is first in 455, an
outage that lasts until a prefetch is narrowed in 249, so many records behind a gap in 386."""


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (ack_before_commit, "acknowledged, and neither stored nor set aside"),
        (batch_lost_on_cancel, "acknowledged, and neither stored nor set aside"),
        (batch_lost_on_consumer_cancel, "acknowledged, and neither stored nor set aside"),
        (requeue_in_outage, "handed back after"),
        (acknowledged_twice, "settled twice"),
        (id_in_two_batches, "in two batches at once"),
        (dead_letter_in_outage, "the store would have taken it"),
        (stale_version_wins, "acknowledged, and neither stored nor set aside"),
        (letter_taken_for_confirmed, "acknowledged, and neither stored nor set aside"),
        (spins_in_outage, "it spins"),
        (waits_without_end, "the store is held to be away"),
        (batch_too_long, "are allowed"),
        (default_delivery_limit, "dropped by the broker's delivery limit"),
        (narrow_forever, "after all was well the prefetch is"),
        (widened_at_once, "handed back after"),
        (acknowledged_remembered, "entries remembered of a channel"),
        (header_no_larger_than_a_frame, "not everything is settled"),
        (pause_read_and_not_obeyed, "paused for"),
        (errors_lost_with_a_note, "and the ledger knows of"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_planted_bug_is_found(plant: Plant, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    assert first_seed(words, of=RARE.get(plant, 0)) is not None


def test_a_failing_story_is_shrunk_to_what_it_fails_of(monkeypatch: pytest.MonkeyPatch) -> None:
    dead_letter_in_outage(monkeypatch)
    words = "the store would have taken it"
    story = draw(first_seed(words) or 0)

    shortest = shrink(story, lambda shorter: words in (simulate(shorter).violation or ""))

    assert words in (simulate(shortest).violation or "")
    assert len(shortest.steps) <= 5
    assert len(messages_of(shortest)) <= 2


def test_the_command_tells_a_violation_and_its_seed_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dead_letter_in_outage(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["simulate", "--seeds", "40"])
    monkeypatch.setattr("tests.simulation.__main__._everywhere", lambda seeds: map(run, [seeds]))

    code = main()

    result = json.loads((tmp_path / RESULT).read_text())
    assert code == 1
    assert result["violations"] == len(result["failing_seeds"]) > 0
    assert f"seed {next(iter(result['failing_seeds']))}, " in capsys.readouterr().out


def first_seed(words: str, *, of: int = 0) -> int | None:
    """The first seed from `of` on whose violation says so."""
    seeds = range(of, SEEDS)
    return next((seed for seed in seeds if words in (simulate(draw(seed)).violation or "")), None)


def messages_of(story: Story) -> list[Any]:
    return [message for step in story.steps if step.name == "publish" for message in step.values[0]]
