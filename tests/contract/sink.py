"""The Sink contract, as a suite: the in-memory fake, the PostgreSQL sink and the Neo4j sink all pass it.

To run it, subclass `SinkContract` in a `test_*.py` and give it a function-scoped fixture `harness` over an empty kind:

    class TestTableSink(SinkContract):
        @pytest.fixture
        async def harness(self, postgres): ...
            yield TableHarness(...)

A harness (`SinkHarness`) makes sinks and records and looks into the store past the sink. Ids are given and returned as
the suite writes them; a harness that must prefix them in its store takes the prefix off again in `stored()`.
"""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.errors import RecordsRefused, StoreUnavailable, WriteConflict
from common.ledger import View
from common.loads import Announcement, LoadErrors, State, Totals
from common.outcomes import Outcomes
from common.sink import Sink
from tests.contract.cancelling import cancel_at

OLDER, VERSION, NEWER = "20250101", "20250201", "20250301"
NOW, SECOND = datetime(2026, 3, 1, 8, tzinfo=UTC), timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds of a record: its content, and the load it was written with."""

    payload: str
    version: str | None


class SinkHarness(ABC):
    """One kind in one store, seen from both sides."""

    sink: Sink[Any]

    @abstractmethod
    def another_sink(self) -> Sink[Any]:
        """A second sink on the same kind of the same store, as another replica or writer has it."""

    @abstractmethod
    def make(self, record_id: str, payload: str, *, sha256: str, version: str | None) -> Any:
        """A record whose stored content can be told by `payload`, a short text (its title, its name)."""

    @abstractmethod
    async def stored(self) -> Mapping[str, Stored]:
        """Everything the store holds of this kind, by id, read past the sink."""

    @abstractmethod
    async def errors(self) -> Sequence[LoadErrors]:
        """What errors the store's ledger knows of this kind, over all sinks, read past the sink."""

    def make_refused(self, record_id: str) -> Any | None:
        """A record that the store refuses by its content; None if it refuses nothing."""
        return None

    async def break_store(self) -> bool:
        """Make the store unreachable and end its connections; False if that can't be done."""
        return False

    async def mend_store(self) -> None:  # noqa: B027 - only those that can break have to fix
        """Undo `break_store`."""

    def record(self, record_id: str, payload: str = "first", *, version: str | None = VERSION) -> Any:
        """A record with the true hash of its payload."""
        return self.make(record_id, payload, sha256=hashlib.sha256(payload.encode()).hexdigest(), version=version)

    def unhashed(self, record_id: str, payload: str = "first", *, version: str | None = VERSION) -> Any:
        """A record whose producer left the hash empty."""
        return self.make(record_id, payload, sha256="", version=version)

    def records(self, count: int, payload: str = "first", *, version: str | None = VERSION) -> list[Any]:
        """Records "0", "1", … of one payload."""
        return [self.record(str(number), payload, version=version) for number in range(count)]


async def write_until_done(sink: Sink[Any], records: Sequence[Any]) -> Outcomes:
    """Write as the runtime does: a conflict means the same batch again."""
    for _ in range(20):
        try:
            return await sink.write(records)
        except WriteConflict:
            await asyncio.sleep(0.01)
    raise AssertionError("20 conflicts in a row")


class SinkContract:
    """Every sink's promises, one test each."""

    # New, unchanged, changed.

    async def test_new_records_are_stored(self, harness: SinkHarness) -> None:
        outcomes = await harness.sink.write(harness.records(3))

        assert outcomes == Outcomes(new=3)
        assert await harness.stored() == {str(n): Stored("first", VERSION) for n in range(3)}

    async def test_a_batch_written_twice_changes_nothing(self, harness: SinkHarness) -> None:
        """Fault 56."""
        await harness.sink.write(harness.records(3))
        before = await harness.stored()

        outcomes = await harness.sink.write(harness.records(3))

        assert outcomes == Outcomes(unchanged=3)
        assert await harness.stored() == before

    async def test_a_changed_record_replaces_the_stored_one(self, harness: SinkHarness) -> None:
        await harness.sink.write(harness.records(2))

        outcomes = await harness.sink.write([harness.record("1", "second")])

        assert outcomes == Outcomes(changed=1)
        assert await harness.stored() == {"0": Stored("first", VERSION), "1": Stored("second", VERSION)}

    async def test_the_outcomes_of_a_mixed_batch_sum_to_the_batch(self, harness: SinkHarness) -> None:
        await harness.sink.write(harness.records(3))
        batch = [
            harness.record("3"),
            harness.record("2", "second", version=NEWER),
            harness.record("0"),
            harness.record("1", "second", version=OLDER),
            harness.record("4"),
        ]

        outcomes = await harness.sink.write(batch)

        assert outcomes == Outcomes(new=2, changed=1, unchanged=1, stale=1)
        assert {record_id: stored.payload for record_id, stored in (await harness.stored()).items()} == {
            "0": "first",
            "1": "first",
            "2": "second",
            "3": "first",
            "4": "first",
        }

    async def test_an_empty_batch_is_nothing_to_do(self, harness: SinkHarness) -> None:
        assert await harness.sink.write([]) == Outcomes()

    # Hashes.

    async def test_a_record_without_hash_is_written_also_the_second_time(self, harness: SinkHarness) -> None:
        """Fault 21."""
        first = await harness.sink.write([harness.unhashed("1")])
        second = await harness.sink.write([harness.unhashed("1", "second")])
        third = await harness.sink.write([harness.unhashed("1", "second")])

        assert (first, second, third) == (Outcomes(new=1), Outcomes(changed=1), Outcomes(changed=1))
        assert (await harness.stored())["1"].payload == "second"

    async def test_a_record_without_hash_replaces_a_hashed_one(self, harness: SinkHarness) -> None:
        """Fault 21."""
        await harness.sink.write([harness.record("1")])

        outcomes = await harness.sink.write([harness.unhashed("1", "second")])

        assert outcomes == Outcomes(changed=1)
        assert (await harness.stored())["1"].payload == "second"

    async def test_a_hashed_record_replaces_one_without_hash(self, harness: SinkHarness) -> None:
        await harness.sink.write([harness.unhashed("1")])

        outcomes = await harness.sink.write([harness.record("1", "second")])

        assert outcomes == Outcomes(changed=1)
        assert (await harness.stored())["1"].payload == "second"

    # Versions.

    async def test_an_older_version_is_stale_and_not_written(self, harness: SinkHarness) -> None:
        """Faults 22 and 23."""
        await harness.sink.write([harness.record("1", version=VERSION)])

        outcomes = await harness.sink.write([harness.record("1", "second", version=OLDER)])

        assert outcomes == Outcomes(stale=1)
        assert await harness.stored() == {"1": Stored("first", VERSION)}

    async def test_an_older_version_without_hash_is_stale_too(self, harness: SinkHarness) -> None:
        """Fault 23."""
        await harness.sink.write([harness.unhashed("1", version=VERSION)])

        outcomes = await harness.sink.write([harness.unhashed("1", "second", version=OLDER)])

        assert outcomes == Outcomes(stale=1)
        assert await harness.stored() == {"1": Stored("first", VERSION)}

    async def test_a_version_that_is_no_day_orders_nothing(self, harness: SinkHarness) -> None:
        """An older version of ours has stored such."""
        await harness.sink.write([harness.record("1", version="20269999"), harness.unhashed("2", version="20270229")])

        outcomes = await harness.sink.write([harness.record("1", "second"), harness.unhashed("2", "second")])

        assert outcomes == Outcomes(changed=2)
        assert await harness.stored() == {"1": Stored("second", VERSION), "2": Stored("second", VERSION)}

    async def test_an_equal_version_leaves_it_to_the_hash(self, harness: SinkHarness) -> None:
        await harness.sink.write([harness.record("1", version=VERSION)])

        outcomes = await harness.sink.write([harness.record("1", "second", version=VERSION)])

        assert outcomes == Outcomes(changed=1)
        assert await harness.stored() == {"1": Stored("second", VERSION)}

    async def test_a_newer_version_is_stored_with_its_version(self, harness: SinkHarness) -> None:
        await harness.sink.write([harness.record("1", version=VERSION)])

        outcomes = await harness.sink.write([harness.record("1", "second", version=NEWER)])

        assert outcomes == Outcomes(changed=1)
        assert await harness.stored() == {"1": Stored("second", NEWER)}

    @pytest.mark.parametrize("version", [OLDER, NEWER, None])
    async def test_an_unchanged_record_keeps_its_stored_version(
        self, harness: SinkHarness, version: str | None
    ) -> None:
        await harness.sink.write([harness.record("1", version=VERSION)])

        outcomes = await harness.sink.write([harness.record("1", version=version)])

        assert outcomes == Outcomes(unchanged=1)
        assert await harness.stored() == {"1": Stored("first", VERSION)}

    async def test_what_a_late_load_replaced_is_put_right_by_the_newest_load_again(self, harness: SinkHarness) -> None:
        """Fault 69: an unchanged record keeps its older version, so a load in between replaces it."""
        await harness.sink.write([harness.record("1", version=OLDER)])
        unchanged = await harness.sink.write([harness.record("1", version=NEWER)])
        await harness.sink.write([harness.record("1", "second", version=VERSION)])

        again = await harness.sink.write([harness.record("1", version=NEWER)])

        assert (unchanged, again) == (Outcomes(unchanged=1), Outcomes(changed=1))
        assert await harness.stored() == {"1": Stored("first", NEWER)}

    async def test_without_an_incoming_version_there_is_no_guard(self, harness: SinkHarness) -> None:
        await harness.sink.write([harness.record("1", version=VERSION)])

        outcomes = await harness.sink.write([harness.record("1", "second", version=None)])

        assert outcomes == Outcomes(changed=1)
        assert await harness.stored() == {"1": Stored("second", None)}

    async def test_without_a_stored_version_there_is_no_guard(self, harness: SinkHarness) -> None:
        await harness.sink.write([harness.record("1", version=None)])

        outcomes = await harness.sink.write([harness.record("1", "second", version=OLDER)])

        assert outcomes == Outcomes(changed=1)
        assert await harness.stored() == {"1": Stored("second", OLDER)}

    # All or nothing.

    @pytest.mark.parametrize("position", [0, 2, 4])
    async def test_a_refused_record_leaves_nothing_of_its_batch_stored(
        self, harness: SinkHarness, position: int
    ) -> None:
        batch = _with_refused(harness, harness.records(4, "second"), position)
        await harness.sink.write([harness.record("0")])

        with pytest.raises(RecordsRefused) as refused:
            await harness.sink.write(batch)

        assert refused.value.positions in (None, (position,))
        assert await harness.stored() == {"0": Stored("first", VERSION)}

    async def test_a_refused_record_is_refused_alone_too(self, harness: SinkHarness) -> None:
        batch = _with_refused(harness, [], 0)

        with pytest.raises(RecordsRefused) as refused:
            await harness.sink.write(batch)

        assert refused.value.positions in (None, (0,))
        assert refused.value.refusal.error_class
        assert await harness.stored() == {}

    async def test_after_a_refusal_the_rest_can_be_written(self, harness: SinkHarness) -> None:
        batch = _with_refused(harness, harness.records(4), 2)
        with pytest.raises(RecordsRefused):
            await harness.sink.write(batch)

        outcomes = await harness.sink.write(batch[:2] + batch[3:])

        assert outcomes == Outcomes(new=4)

    async def test_cancelled_at_any_await_a_batch_is_stored_whole_or_not_at_all(self, harness: SinkHarness) -> None:
        """Fault 15."""
        suspension, reached = 0, True

        while reached and suspension < 500:
            suspension += 1
            await harness.sink.write(_numbered(harness, suspension, "first", 0, 2))
            batch = _numbered(harness, suspension, "second", 0, 4)
            reached = await cancel_at(harness.sink.write(batch), suspension=suspension)
            stored = await _settled_payloads(harness, suspension)
            assert stored in (["first"] * 2, ["second"] * 4), f"half stored, cancelled at await {suspension}"

            outcomes = await write_until_done(harness.sink, batch)
            assert outcomes.total == 4
            assert await _settled_payloads(harness, suspension) == ["second"] * 4
        assert not reached, "the last run must have come to its end"
        totals = await _totals(harness)
        assert (totals.new, totals.changed) == (4 * suspension, 2 * suspension), "what was written is counted once"

    # The ledger.

    async def test_a_batch_that_writes_is_counted_with_it_and_takes_along_what_waits(
        self, harness: SinkHarness
    ) -> None:
        await harness.sink.write(harness.records(3))
        await harness.sink.write(harness.records(3))
        waiting = await _totals(harness)

        await harness.sink.write([harness.record("0"), harness.record("1", "second"), harness.record("9")])

        assert (waiting.batches, waiting.new, waiting.unchanged) == (1, 3, 0)
        totals = await _totals(harness)
        assert (totals.batches, totals.new, totals.changed, totals.unchanged) == (3, 4, 1, 4)
        assert not harness.sink.ledger.progress.waits

    async def test_what_waits_can_be_written_alone(self, harness: SinkHarness) -> None:
        await harness.sink.write(harness.records(3))
        await harness.sink.write(harness.records(3))

        await harness.sink.ledger.note()

        totals = await _totals(harness)
        assert (totals.batches, totals.new, totals.unchanged) == (2, 3, 3)

    async def test_records_of_several_loads_are_counted_each_with_its_own(self, harness: SinkHarness) -> None:
        await harness.sink.write([harness.record("1", version=VERSION), harness.record("2", version=VERSION)])
        late, new = harness.record("1", "second", version=OLDER), harness.record("3", version=NEWER)
        nameless = harness.record("4", version=None)

        await harness.sink.write([late, new, nameless, harness.record("2", version=VERSION)])

        totals = await _totals(harness)  # of the newest
        assert (totals.batches, totals.new, totals.unchanged, totals.stale) == (1, 1, 0, 0)

    async def test_what_is_refused_is_counted_nowhere(self, harness: SinkHarness) -> None:
        await harness.sink.write(harness.records(1))
        await harness.sink.write(harness.records(1))

        with pytest.raises(RecordsRefused):
            await harness.sink.write(_with_refused(harness, harness.records(4, "second"), 2))

        assert harness.sink.ledger.progress.waits, "what waited waits again"
        await harness.sink.ledger.note()
        totals = await _totals(harness)
        assert (totals.batches, totals.new, totals.changed, totals.unchanged) == (2, 1, 0, 1)

    async def test_errors_are_written_by_a_note_and_by_no_batch(self, harness: SinkHarness) -> None:
        harness.sink.ledger.progress.count_error(VERSION, "conflict", "Deadlock 40P01", at=NOW)
        await harness.sink.write(harness.records(3))
        before = await harness.errors()

        await harness.sink.ledger.note()

        once = LoadErrors(
            load=VERSION,
            kind="artists",
            result="conflict",
            errors=1,
            last_error="Deadlock 40P01",
            first_at=NOW,
            last_at=NOW,
        )
        assert (before, list(await harness.errors())) == ([], [once])
        assert not harness.sink.ledger.progress.waits

    async def test_errors_of_several_processes_are_summed_and_the_last_is_the_last_of_all(
        self, harness: SinkHarness
    ) -> None:
        progress = harness.sink.ledger.progress
        progress.count_error(VERSION, "conflict", "first", at=NOW)
        progress.count_error(OLDER, "unavailable", "of another load", at=NOW)
        await harness.sink.ledger.note()
        progress.count_error(VERSION, "conflict", "last", at=NOW + 2 * SECOND)
        progress.count_error(VERSION, "dead_letter:refused", "of another result", at=NOW)
        await harness.sink.ledger.note()
        other = harness.another_sink().ledger
        other.progress.count_error(VERSION, "conflict", "in between", at=NOW + SECOND)

        await other.note()

        found = {(met.load, met.result): met for met in await harness.errors()}
        assert {key: (met.errors, met.last_error) for key, met in found.items()} == {
            (VERSION, "conflict"): (3, "last"),
            (VERSION, "dead_letter:refused"): (1, "of another result"),
            (OLDER, "unavailable"): (1, "of another load"),
        }
        conflicts = found[VERSION, "conflict"]
        assert (conflicts.first_at, conflicts.last_at) == (NOW, NOW + 2 * SECOND)

    async def test_an_announcement_counts_once(self, harness: SinkHarness) -> None:
        told = Announcement(load=VERSION, kind="artists", published=3, file="dump.xml.gz")
        await harness.sink.ledger.announce(told)
        first = (await harness.sink.ledger.look()).newest

        await harness.sink.ledger.announce(told)

        assert first is not None and first.announced_at is not None
        assert (first.load, first.state, first.published) == (VERSION, State.ANNOUNCED, 3)
        assert (await harness.sink.ledger.look()).newest == first

    async def test_of_a_kind_nothing_is_known_at_first(self, harness: SinkHarness) -> None:
        assert await harness.sink.ledger.look() == View()

    # Several writers.

    async def test_two_writers_of_the_same_new_records_store_each_once(self, harness: SinkHarness) -> None:
        """Fault 58."""
        other = harness.another_sink()
        for round_number in range(10):
            batch = _numbered(harness, round_number, "first", 0, 50)

            one, two = await _both(write_until_done(harness.sink, batch), write_until_done(other, batch[::-1]))

            assert one + two == Outcomes(new=50, unchanged=50)

    async def test_of_two_writers_the_newest_version_wins(self, harness: SinkHarness) -> None:
        """Fault 61."""
        other = harness.another_sink()
        for round_number in range(10):
            await harness.sink.write(_numbered(harness, round_number, "first", 0, 25, version=OLDER))
            older = _numbered(harness, round_number, "second", 0, 50, version=VERSION)
            newer = _numbered(harness, round_number, "third", 0, 50, version=NEWER)

            one, two = await _both(write_until_done(harness.sink, older), write_until_done(other, newer[::-1]))

            assert (one.total, two.total) == (50, 50)
            assert (two.stale, two.unchanged) == (0, 0)
            assert one.new + two.new == 25
            assert await _settled_payloads(harness, round_number) == ["third"] * 50

    # The witness and the probe.

    async def test_a_stored_record_can_be_rewritten(self, harness: SinkHarness) -> None:
        await harness.sink.write(harness.records(2))

        assert await harness.sink.rewrite(harness.record("1"))

        assert await harness.stored() == {str(n): Stored("first", VERSION) for n in range(2)}

    @pytest.mark.parametrize("version", [NEWER, None])
    async def test_a_record_that_was_found_unchanged_can_be_rewritten_and_keeps_its_stored_version(
        self, harness: SinkHarness, version: str | None
    ) -> None:
        await harness.sink.write([harness.record("1", version=VERSION)])

        assert await harness.sink.rewrite(harness.record("1", version=version))

        assert await harness.stored() == {"1": Stored("first", VERSION)}

    async def test_a_stored_record_without_hash_can_be_rewritten(self, harness: SinkHarness) -> None:
        await harness.sink.write([harness.unhashed("1")])

        assert await harness.sink.rewrite(harness.unhashed("1"))

    async def test_a_record_that_another_has_changed_is_not_rewritten(self, harness: SinkHarness) -> None:
        await harness.sink.write([harness.record("1", "second", version=NEWER)])

        assert not await harness.sink.rewrite(harness.record("1"))

        assert await harness.stored() == {"1": Stored("second", NEWER)}

    async def test_a_record_without_hash_that_another_has_changed_is_not_rewritten(self, harness: SinkHarness) -> None:
        await harness.sink.write([harness.unhashed("1", "second", version=NEWER)])

        assert not await harness.sink.rewrite(harness.unhashed("1"))

        assert await harness.stored() == {"1": Stored("second", NEWER)}

    async def test_a_record_that_is_not_stored_is_not_rewritten(self, harness: SinkHarness) -> None:
        assert not await harness.sink.rewrite(harness.record("1"))

        assert await harness.stored() == {}

    async def test_a_probe_leaves_nothing_behind(self, harness: SinkHarness) -> None:
        await harness.sink.write([harness.record("0")])

        await harness.sink.probe(harness.record("0", "second"))
        await harness.sink.probe(harness.record("1"))

        assert await harness.stored() == {"0": Stored("first", VERSION)}

    async def test_a_probe_with_a_refused_record_is_refused(self, harness: SinkHarness) -> None:
        (refused,) = _with_refused(harness, [], 0)

        with pytest.raises(RecordsRefused):
            await harness.sink.probe(refused)

    # Outage.

    @pytest.mark.parametrize("method", ["write", "rewrite", "probe"])
    async def test_a_store_that_is_down_is_unavailable(self, harness: SinkHarness, method: str) -> None:
        await harness.sink.write(harness.records(1))
        await _break(harness)
        record = harness.record("0")

        with pytest.raises(StoreUnavailable):
            await getattr(harness.sink, method)([record] if method == "write" else record)

    async def test_a_store_that_comes_back_is_written_to_again(self, harness: SinkHarness) -> None:
        await harness.sink.write(harness.records(2))
        await _break(harness)
        with pytest.raises(StoreUnavailable):
            await harness.sink.write(harness.records(4))

        await harness.mend_store()

        assert await harness.sink.write(harness.records(4)) == Outcomes(new=2, unchanged=2)


def _with_refused(harness: SinkHarness, good: list[Any], position: int) -> list[Any]:
    refused = harness.make_refused("refused")
    if refused is None:
        pytest.skip("this store refuses nothing")
    return [*good[:position], refused, *good[position:]]


def _numbered(
    harness: SinkHarness, group: int, payload: str, first: int, last: int, *, version: str | None = VERSION
) -> list[Any]:
    """Records `group-00` and up, so that every round of a test has ids of its own."""
    return [harness.record(f"{group}-{number:02}", payload, version=version) for number in range(first, last)]


async def _settled_payloads(harness: SinkHarness, group: int) -> list[str]:
    """The payloads stored for a group of `_numbered` records, in order of their ids."""
    stored = await harness.stored()
    return [stored[record_id].payload for record_id in sorted(stored) if record_id.startswith(f"{group}-")]


async def _totals(harness: SinkHarness) -> Totals:
    """What the ledger says of the newest load."""
    newest = (await harness.sink.ledger.look()).newest
    assert newest is not None
    return newest.totals


async def _both(one: Any, two: Any) -> tuple[Outcomes, Outcomes]:
    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(one), group.create_task(two)
    return first.result(), second.result()


async def _break(harness: SinkHarness) -> None:
    if not await harness.break_store():
        pytest.skip("this store can't be taken down here")
