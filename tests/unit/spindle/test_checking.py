"""The check without servers: its classes equal a truth set that was kept beside, in each of 5,000 drawn stories."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from common.errors import StartRefused, StoreUnavailable, WriteConflict
from common.kinds import KINDS
from common.outcomes import Outcome
from extractor.loads import open_files
from extractor.message import Message
from extractor.parsing.pool import Answer, ParserPool
from extractor.parsing.reader import DirectReader, PooledReader, Reader
from spindle.checking.check import Check, Pace
from spindle.checking.classes import Class, Counts, Entry, Judge, Stored, classify, number_of
from spindle.checking.command import kinds_of
from spindle.checking.diff import Subject, read_result
from spindle.checking.id_set import IdSet
from spindle.checking.repair import as_listed, chunks, wanted_messages
from tableinator.decision import StoredState, decide
from tableinator.model import Row

CHUNK = 100
LOAD, BEFORE, AFTER = "20260301", "20260201", "20260401"
STORIES = 5000


# ---- stories ----


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of a story."""

    id: int
    hash: str
    version: str


@dataclass(slots=True)
class Story:
    """What one dump had, what became of its messages, and what follows from that, kept by the story itself."""

    entries: list[Entry] = field(default_factory=list)
    table: dict[int, Stored] = field(default_factory=dict)
    dead: IdSet = field(default_factory=IdSet)
    truth: dict[int, Class] = field(default_factory=dict)


def content(random: Random) -> str:
    return random.choice("abcd") * 64  # few, so that records are often the same as before


def drawn(seed: int) -> Story:
    """Draw messages of this load and of the ones before and after it; drop, double and shuffle them; store them by the
    service's own rule, and dead-letter some."""
    random, story = Random(seed), Story()
    sent: list[Sent] = []
    published: dict[int, str] = {}
    skipped: set[int] = set()
    for number in range(random.randrange(1, 40)):
        if random.random() < 0.5:
            sent.append(Sent(number, content(random), BEFORE))
        if random.random() < 0.75:
            if random.random() < 0.1:
                skipped.add(number)
                story.entries.append((number, "0" * 16, 1))
            else:
                published[number] = content(random)
                sent.append(Sent(number, published[number], LOAD))
                story.entries.append((number, published[number][:16], 0))
        if random.random() < 0.1:
            sent.append(Sent(number, content(random), AFTER))
    dead = {message for message in sent if random.random() < 0.1}
    arrived = [message for message in sent if message not in dead and random.random() > 0.15]
    arrived += [message for message in arrived if random.random() < 0.2]
    random.shuffle(arrived)
    # A control message in their midst, early or late, is nothing that is looked at.
    for message in arrived:
        store(story.table, message)
    for message in dead:
        if message.version == LOAD:
            story.dead.add(message.id)
    story.truth = truth(story, published, skipped, set(arrived))
    return story


def store(table: dict[int, Stored], message: Sent) -> None:
    stored = table.get(message.id)
    row = Row(str(message.id), message.hash, message.version, b"")
    outcome = decide(row, stored and StoredState(stored.hash, stored.version))
    if outcome in (Outcome.NEW, Outcome.CHANGED):
        table[message.id] = Stored(message.hash, message.version)


def truth(story: Story, published: dict[int, str], skipped: set[int], arrived: set[Sent]) -> dict[int, Class]:
    """From the messages, not from how the check decides: what an id must be called."""
    found: dict[int, Class] = {}
    for number in {*published, *skipped, *story.table}:
        of_it = [message for message in arrived if message.id == number]
        held = story.table.get(number)
        later = held is not None and held.version == AFTER
        if number in published:
            as_published = held is not None and held.hash == published[number]
            found[number] = (
                Class.SAME
                if as_published
                else Class.NEWER
                if later
                else Class.DEAD
                if number in story.dead
                else Class.DIFFERENT
                if of_it
                else Class.LOST
            )
        elif number in skipped:
            found[number] = Class.NEWER if later else Class.SKIPPED
        elif not later:
            found[number] = Class.GONE
    return found


class Table:
    """Identities in memory. `breaks_at`: the question at which it is away, once."""

    store = "postgresql"

    def __init__(self, stored: dict[int, Stored], *, breaks_at: int = 0, server: str = "one") -> None:
        self.server = server
        self.stored, self.questions, self.breaks_at = stored, 0, breaks_at
        self.ids = sorted(stored)

    async def who(self, kind: str) -> tuple[str, datetime]:
        return self.server, datetime.now(UTC)

    async def look_up(self, kind: str, ids: Sequence[str]) -> dict[str, tuple[str, str | None, bool]]:
        self._asked()
        found = {each: self.stored[int(each)] for each in ids if int(each) in self.stored}
        return {each: (found[each].hash, found[each].version, found[each].is_current) for each in found}

    async def page(self, kind: str, behind: str, size: int) -> tuple[list[tuple[str, str | None]], str]:
        self._asked()
        start = int(behind or 0)
        page = [(str(each), self.stored[each].version) for each in self.ids[start : start + size]]
        return page, str(start + len(page)) if page else behind

    async def estimate(self, kind: str) -> int:
        return len(self.stored)

    def _asked(self) -> None:
        self.questions += 1
        if self.questions == self.breaks_at:
            raise StoreUnavailable("away")


class Listed:
    """A manifest in memory."""

    load, kind, digest = LOAD, "artists", "d1"

    def __init__(self, entries: list[Entry]) -> None:
        self._entries, self.records = entries, len(entries)

    def entries(self, start: int = 0) -> Iterator[Entry]:
        return iter(self._entries[start:])

    def ids(self) -> Iterator[int]:
        return (entry[0] for entry in self._entries)


def dead_letters(ids: IdSet) -> Callable[[], Awaitable[IdSet]]:
    async def dead() -> IdSet:
        return ids

    return dead


def check_of(story: Story, table: Table, folder: Path) -> Check:
    source = Listed(story.entries)
    dead = dead_letters(story.dead)
    return Check(source, table, dead, beginning="", folder=folder, pace=Pace(1e12), chunk=CHUNK)


def test_the_classes_are_the_truth_in_every_story() -> None:
    seen: set[Class] = set()
    for seed in range(STORIES):
        story = drawn(seed)
        judge, known = Judge(LOAD), IdSet(entry[0] for entry in story.entries)
        listed = judge.judge(story.entries, story.table)
        page = [(str(number), stored.version) for number, stored in story.table.items()]
        listed += judge.gone(judge.candidates(page, known), story.table)
        settled = dict(judge.settle(iter(listed), story.dead))

        assert settled == {number: found for number, found in story.truth.items() if found >= Class.DIFFERENT}, (
            f"story {seed}"
        )
        counted = {found: list(story.truth.values()).count(found) for found in Class}
        assert judge.counts.of == counted, f"story {seed}"
        assert len(settled) == len(listed), f"story {seed}: an id has two classes"
        assert judge.counts.complete is not any(
            found in (Class.LOST, Class.DIFFERENT) for found in story.truth.values()
        ), f"story {seed}"
        seen |= set(story.truth.values())
    assert seen == set(Class) - {Class.OTHER_MODEL}


def test_another_model_of_the_same_record_is_no_difference() -> None:
    entry = (1, "a" * 16, 0)

    assert classify(entry, Stored("a" * 64, LOAD, is_current=False), LOAD) is Class.OTHER_MODEL
    assert classify(entry, Stored("b" * 64, LOAD, is_current=False), LOAD) is Class.DIFFERENT


def test_a_manifest_of_ids_only_tells_no_difference() -> None:
    entry = (1, "0" * 16, 0)

    assert classify(entry, Stored("b" * 64, BEFORE), LOAD) is Class.SAME
    assert classify(entry, None, LOAD) is Class.LOST


@pytest.mark.parametrize("odd", ["", "007", "x", "-1", "4294967296", "٣", "1.0", " 1", "99999999999999999999"])
def test_an_id_that_no_manifest_could_have_is_never_gone(odd: str) -> None:
    judge = Judge(LOAD)

    assert number_of(odd) is None
    assert judge.candidates([(odd, BEFORE)], IdSet()) == []
    assert judge.counts.unnumbered == 1


def test_ids_are_held_as_bits_and_far_ones_take_little() -> None:
    ids = [0, 1, 65535, 65536, 4294967295]
    held = IdSet([*ids, 1])

    assert (list(held), len(held)) == (ids, 5)
    assert all(number in held for number in ids)
    assert not any(number in held for number in (2, 65537, 4294967294))


# ---- a whole check ----


async def test_a_check_writes_what_it_has_found_bound_to_the_manifest(tmp_path: Path) -> None:
    story = drawn(3)

    result = await check_of(story, Table(story.table), tmp_path).run()

    again = read_result(tmp_path, Subject(LOAD, "artists", "postgresql", "d1", "one"))
    assert dict(again.listed()) == {each: found for each, found in story.truth.items() if found >= Class.DIFFERENT}
    assert again.counts == result.counts
    assert names_in(tmp_path) == ["20260301.artists.postgresql.diff"]
    with pytest.raises(StartRefused, match="bound to another manifest"):
        read_result(tmp_path, Subject(LOAD, "artists", "postgresql", "d2", "one"))
    with pytest.raises(StartRefused, match="about another server"):
        read_result(tmp_path, Subject(LOAD, "artists", "postgresql", "d1", "two"))
    with pytest.raises(StartRefused, match="was not checked"):
        read_result(tmp_path, Subject(LOAD, "artists", "neo4j", "d1", "one"))
    result.path.write_bytes(result.path.read_bytes()[:-1])
    with pytest.raises(StartRefused, match="was cut"):
        read_result(tmp_path, Subject(LOAD, "artists", "postgresql", "d1", "one"))


async def test_a_check_that_was_interrupted_goes_on_behind_the_last_chunk(tmp_path: Path) -> None:
    count = 4 * CHUNK
    entries = [(number, "a" * 16, 0) for number in range(count)]
    stored = {number: Stored("a" * 64, LOAD) for number in range(count) if number % 50}
    stored |= {count + number: Stored("a" * 64, BEFORE) for number in range(3)}
    story = Story(entries, stored)
    whole = await check_of(story, Table(stored), made(tmp_path / "whole")).run()

    # At every question once: 4 chunks, 5 pages and the second look at what seems to be gone.
    for breaks_at in range(1, 12):
        folder = made(tmp_path / f"{breaks_at}")
        first = Table(stored, breaks_at=breaks_at)
        try:
            result = await check_of(story, first, folder).run()
        except StoreUnavailable:
            second = Table(stored)
            result = await check_of(story, second, folder).run()
            assert second.questions <= 11 - breaks_at + 2
        assert list(result.listed()) == list(whole.listed())
        assert result.counts == whole.counts


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def test_a_check_goes_on_at_no_other_server_and_not_if_it_is_to_begin_again(tmp_path: Path) -> None:
    stored = {number: Stored("a" * 64, LOAD) for number in range(3 * CHUNK)}
    story = Story([(number, "a" * 16, 0) for number in stored], stored)

    async def interrupted(folder: Path) -> Path:
        with pytest.raises(StoreUnavailable):
            await check_of(story, Table(stored, breaks_at=3), folder).run()
        return folder

    same, other = Table(stored), Table(stored, server="two")
    resumed = await check_of(story, same, await interrupted(made(tmp_path / "same"))).run()
    elsewhere = await check_of(story, other, await interrupted(made(tmp_path / "other"))).run()

    assert (resumed.resumed, elsewhere.resumed) == (True, False)
    assert same.questions == other.questions - 2
    assert elsewhere.counts.of[Class.SAME] == 3 * CHUNK


class Busy(Table):
    """A store in which other transactions are in the way, now and then."""

    def _asked(self) -> None:
        super()._asked()
        if self.questions in (1, 3):
            raise WriteConflict("in the way")


async def test_a_check_asks_again_if_a_transaction_was_in_the_way(tmp_path: Path) -> None:
    stored = {1: Stored("a" * 64, LOAD)}

    result = await check_of(Story([(1, "a" * 16, 0)], stored), Busy(stored), tmp_path).run()

    assert result.counts.of[Class.SAME] == 1


def test_a_kind_without_a_manifest_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "20260301.artists.manifest").touch()
    (tmp_path / "20260301.labels.manifest.part").touch()

    assert kinds_of(None, KINDS, tmp_path, LOAD) == (("artists", "labels"), ["masters", "releases"])
    assert kinds_of(("releases",), KINDS, tmp_path, LOAD) == (("releases",), [])
    with pytest.raises(StartRefused, match="holds no manifest of 20260401"):
        kinds_of(None, KINDS, tmp_path, AFTER)


def test_a_repair_publishes_only_what_the_manifest_lists() -> None:
    drawn = [Message("artists", number, b"{}", sha256 * 64) for number, sha256 in (("1", "a"), ("2", "b"), ("x", "a"))]
    found = IdSet()

    passed = list(as_listed(iter(drawn), {1: "a" * 16, 2: "a" * 16}.get, found))

    assert [message.id if isinstance(message, Message) else message for message in passed] == ["1", None, None]
    assert list(found) == [1]


class CountingPool(ParserPool):
    """Knows how many records its parsers were given."""

    records = 0

    def submit(self, raws: Sequence[bytes]) -> Answer:
        self.records += len(raws)
        return super().submit(raws)


async def test_parsers_read_what_is_wanted_while_most_of_it_is_and_it_is_the_same_without(tmp_path: Path) -> None:
    """Of the first half all is wanted, of the second one record in a hundred."""
    path = tmp_path / "discogs_20260301_artists.xml"
    records = [f"<artist><id>{number}</id><name>Artist {number}</name></artist>" for number in range(1, 6001)]
    path.write_text(f"<artists>{''.join(records)}</artists>")
    load, wanted = open_files([path]), IdSet([*range(1, 3001), *range(3001, 6001, 100)])

    async def drawn(reader: Reader) -> list[Message]:
        found = []
        for chunk in chunks(wanted_messages(load, "artists", wanted, reader)):
            found += chunk
            await reader.wait()
        return found

    async with CountingPool("artists", 2) as pool:
        by_parsers = await drawn(PooledReader("artists", pool))

    assert by_parsers == await drawn(DirectReader("artists"))
    assert [int(message.id) for message in by_parsers] == list(wanted)
    assert 3000 <= pool.records < 5000


async def test_two_checks_of_the_same_are_not_made_at_once(tmp_path: Path) -> None:
    story = Story([(1, "a" * 16, 0)])
    held = asyncio.Event()

    async def slow() -> IdSet:
        held.set()
        await asyncio.Event().wait()
        return IdSet()

    source = Listed(story.entries)
    check = Check(source, Table(story.table), slow, beginning="", folder=tmp_path, pace=Pace(1e12))
    first = asyncio.create_task(check.run())
    await held.wait()
    with pytest.raises(StartRefused, match="being made by another check"):
        await check_of(story, Table(story.table), tmp_path).run()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    assert (await check_of(story, Table(story.table), tmp_path).run()).counts.complete is not None


class Endless:
    """A manifest and a store of so many ids that no list of them is ever made; every thousandth is lost."""

    load, kind, digest, store = LOAD, "releases", "d1", "postgresql"

    def __init__(self, records: int) -> None:
        self.records = records

    def entries(self, start: int = 0) -> Iterator[Entry]:
        return ((number, "a" * 16, 0) for number in range(start, self.records))

    def ids(self) -> Iterator[int]:
        return iter(range(self.records))

    async def who(self, kind: str) -> tuple[str, datetime]:
        return "one", datetime.now(UTC)

    async def look_up(self, kind: str, ids: Sequence[str]) -> dict[str, tuple[str, str | None, bool]]:
        return {each: ("a" * 64, LOAD, True) for each in ids if int(each) % 1000}

    async def page(self, kind: str, behind: str, size: int) -> tuple[list[tuple[str, str | None]], str]:
        start = int(behind)
        page: list[tuple[str, str | None]] = [
            (str(each), LOAD) for each in range(start, min(start + size, self.records))
        ]
        return page, str(start + len(page))

    async def estimate(self, kind: str) -> int:
        return self.records


async def test_memory_does_not_grow_with_the_load(tmp_path: Path) -> None:
    async def peak_of(records: int) -> int:
        endless = Endless(records)
        folder = made(tmp_path / f"{records}")
        check = Check(endless, endless, dead_letters(IdSet()), beginning="0", folder=folder, pace=Pace(1e12))
        assert (await check.run()).counts.of[Class.LOST] == records // 1000
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    small = await peak_of(20_000)
    large = await peak_of(200_000)

    assert large - small < 4 * 1024  # KiB; the ids alone would take 7 MiB, rows of them several times that


def test_counts_go_through_a_file() -> None:
    counts = Counts()
    counts.of[Class.LOST] = 3
    counts.dead_missing = 2

    assert Counts.from_data(counts.as_data()) == counts
    assert counts.missing == 5
