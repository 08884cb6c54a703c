"""Manifests that grow while a dump is read: gone on with, compared with the month before, refused with a sentence."""

import gzip
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from common.kinds import Service
from common.rabbitmq.publishing.publisher import Portion
from extractor.loads import DumpLoad, SyntheticLoad, messages, open_files
from extractor.manifest.checksums import ChecksumDiffers
from extractor.manifest.format import NO_HASH, PUBLISHED, SKIPPED, UNCHANGED, ManifestRefused, part_of, path_of
from extractor.manifest.plan import Plan, open_since
from extractor.manifest.reader import Manifest
from extractor.manifest.recording import Recorded, Unrecorded
from extractor.manifest.writer import mark_announced
from extractor.message import Message, Record
from extractor.parsing import reader as reader_module
from extractor.publishing import _confirm
from extractor.reading import read_record
from extractor.run import plan_of
from extractor.settings import ExtractorSettings
from extractor.streams import Truncated
from extractor.tally import Tally

KIND = "artists"
TARGET = "broker prefix"


def artist(number: object, name: str = "A") -> bytes:
    return f"<artist><id>{number}</id><name>{name}</name></artist>".encode()


def dump(folder: Path, *records: bytes, load: str = "20260301", tail: bytes = b"</artists>") -> DumpLoad:
    path = folder / f"discogs_{load}_{KIND}.xml.gz"
    path.write_bytes(gzip.compress(b"<artists>" + b"".join(records) + tail))
    return open_files([path])


@dataclass
class Done:
    """What a run drew: the ids to publish, and what was counted."""

    published: list[str]
    tally: Tally
    refusal: str = ""


def run(
    load: DumpLoad | SyntheticLoad,
    state: Path,
    *,
    since: str = "",
    ids_only: bool = False,
    target: str = TARGET,
    from_start: bool = False,
    announced: bool = True,
) -> Done:
    """Draw everything, have it confirmed, finish, announce."""
    tally, published = Tally(), []
    plan = Plan(state, since=since, ids_only=ids_only, from_start=from_start, target=target)
    with Recorded(load, KIND, tally, plan) as recorded:
        for message in recorded.messages():
            if isinstance(message, Message):
                published.append(message.id)
            recorded.confirm(recorded.take_rows())
        recorded.finish()
        recorded.keep()
        done = Done(published, tally, recorded.refusal)
    if announced and not done.refusal:
        mark_announced(path_of(state, load.date, KIND))
    return done


def killed(load: DumpLoad, state: Path, *, confirmed: int) -> None:
    """Draw more than what gets confirmed, and end in the middle."""
    with Recorded(load, KIND, Tally(), Plan(state, target=TARGET)) as recorded:
        for number, _ in enumerate(recorded.messages(), start=1):
            rows = recorded.take_rows()
            if number <= confirmed:
                recorded.confirm(rows)
            if number == confirmed + 2:
                return


def manifest(state: Path, load: str = "20260301") -> Manifest:
    return Manifest.open(path_of(state, load, KIND), load=load, kind=KIND)


def flags(state: Path, load: str = "20260301") -> dict[int, int]:
    with manifest(state, load) as found:
        return {row.id: row.flag for row in found.rows()}


def numbered(numbers: Sequence[int]) -> list[bytes]:
    return [artist(number) for number in numbers]


def test_every_record_of_a_dump_is_a_row(tmp_path: Path) -> None:
    load = dump(tmp_path, artist(1), artist(2, "\x01"), artist(5))

    done = run(load, tmp_path)

    expected = {int(message.id): message for message in messages(load, KIND)}
    with manifest(tmp_path) as found:
        assert flags(tmp_path) == {1: PUBLISHED, 2: SKIPPED, 5: PUBLISHED}
        for row in found.rows():
            sha256 = bytes.fromhex(expected[row.id].sha256)[:8] if row.id in expected else NO_HASH
            assert row.sha256 == sha256
            assert row.raw == hashlib.sha256(artist(row.id, "\x01" if row.id == 2 else "A")).digest()[:8]
        header = found.header
    path = load.file(KIND).path
    assert (header.records, header.published, header.rows, header.skipped) == (2, 2, 3, {"control_character": 1})
    assert (header.file, header.bytes) == (path.name, path.stat().st_size)
    assert header.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (header.complete, header.checksum, header.unknown_skipped) == (True, "absent", 0)
    assert done.published == ["1", "5"]


def test_what_stands_behind_the_last_record_is_part_of_the_files_checksum(tmp_path: Path) -> None:
    load = dump(tmp_path, artist(1))
    path = load.file(KIND).path
    path.write_bytes(path.read_bytes() + b"\0" * 200_000)  # passed over when it is unpacked

    run(load, tmp_path)

    with manifest(tmp_path) as found:
        assert found.header.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("confirmed", [0, 1, 7, 18])
def test_after_a_kill_only_what_was_not_confirmed_is_published(confirmed: int, tmp_path: Path) -> None:
    """The rest is cut, and not parsed."""
    load = dump(tmp_path, *numbered(range(1, 21)))
    killed(load, tmp_path, confirmed=confirmed)

    done = run(load, tmp_path)

    assert done.published == [str(number) for number in range(confirmed + 1, 21)]
    assert (done.tally.resumed, done.tally.records) == (confirmed, 20)
    assert flags(tmp_path) == dict.fromkeys(range(1, 21), PUBLISHED)


def test_what_was_confirmed_is_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = dump(tmp_path, *numbered(range(1, 21)))
    killed(load, tmp_path, confirmed=15)
    parsed = []

    def note(raw: bytes) -> dict[str, object]:
        parsed.append(raw)
        return read_record(raw)

    monkeypatch.setattr(reader_module, "read_record", note)
    run(load, tmp_path)

    assert parsed == numbered(range(16, 21))


def test_skipped_records_are_counted_the_same_after_a_kill(tmp_path: Path) -> None:
    records = [artist(1), b"<artist><name>x</name></artist>", artist(3, "\x01"), *numbered(range(4, 9)), artist(9, "<")]
    load = dump(tmp_path, *records)
    killed(load, tmp_path, confirmed=6)

    done = run(load, tmp_path)

    whole = run(load, other := tmp_path / "other")
    assert done.tally.skipped == whole.tally.skipped
    assert flags(tmp_path) == flags(other)
    with manifest(tmp_path) as found:
        assert found.header.unknown_skipped == 1


def test_where_the_dump_has_changed_meanwhile_it_is_published_from_there_on(tmp_path: Path) -> None:
    killed(dump(tmp_path, *numbered(range(1, 21))), tmp_path, confirmed=15)

    done = run(dump(tmp_path, *numbered(range(1, 11)), artist(11, "B"), *numbered(range(12, 21))), tmp_path)

    assert done.published == [str(number) for number in range(11, 21)]
    assert len(flags(tmp_path)) == 20


def test_a_dump_that_has_become_shorter_takes_its_rows_along(tmp_path: Path) -> None:
    killed(dump(tmp_path, *numbered(range(1, 21))), tmp_path, confirmed=15)

    run(dump(tmp_path, *numbered(range(1, 11))), tmp_path)

    assert list(flags(tmp_path)) == list(range(1, 11))


def test_a_truncated_dump_never_gets_complete_and_is_gone_on_with_when_it_is_whole(tmp_path: Path) -> None:
    with pytest.raises(Truncated):
        run(dump(tmp_path, *numbered(range(1, 11)), tail=b"<artist><id>11</i"), tmp_path)
    assert not path_of(tmp_path, "20260301", KIND).exists()

    done = run(dump(tmp_path, *numbered(range(1, 21))), tmp_path)

    assert done.published == [str(number) for number in range(11, 21)]


_RECORD = st.tuples(st.integers(1, 12), st.sampled_from(["A", "B", "\x01", "<"])).map(lambda drawn: artist(*drawn))
_NAMELESS = st.just(b"<artist><name>x</name></artist>")


@given(
    before=st.lists(_RECORD | _NAMELESS, max_size=12),
    after=st.lists(_RECORD | _NAMELESS, min_size=1, max_size=12),
    common=st.integers(0, 12),
    confirmed=st.integers(0, 12),
)
@settings(max_examples=60, deadline=None)
def test_after_any_interruption_the_manifest_is_that_of_an_uninterrupted_run(
    before: list[bytes], after: list[bytes], common: int, confirmed: int
) -> None:
    """And what was not published again had been confirmed, with the same bytes."""
    with TemporaryDirectory() as name, capture_logs():
        folder = Path(name)
        later = [*before[:common], *after]
        killed(dump(folder, *before), folder, confirmed=confirmed)
        load = dump(folder, *later)

        done, whole = run(load, folder), run(load, folder / "fresh")

        with manifest(folder) as found, manifest(folder / "fresh") as fresh:
            assert list(found.rows()) == list(fresh.rows())
            assert found.header.skipped == fresh.header.skipped
            assert found.header.unknown_skipped == fresh.header.unknown_skipped
        left_out = len(whole.published) - len(done.published)
        assert done.published == whole.published[left_out:]
        assert left_out == done.tally.resumed <= confirmed


@pytest.mark.parametrize("interrupted_after", [0, 2, 3])
def test_from_the_start_all_is_published_again(tmp_path: Path, interrupted_after: int) -> None:
    """Also of a kind that was finished, in a load that was not announced."""
    load = dump(tmp_path, *numbered([1, 2, 3]))
    if interrupted_after == 3:
        run(load, tmp_path, announced=False)
    else:
        killed(load, tmp_path, confirmed=interrupted_after)

    done = run(load, tmp_path, from_start=True)

    assert (done.published, done.tally.resumed) == (["1", "2", "3"], 0)
    assert flags(tmp_path) == dict.fromkeys((1, 2, 3), PUBLISHED)


def test_rows_are_written_only_up_to_the_first_message_that_is_not_safe() -> None:
    noted: list[bytes] = []

    class Noting(Unrecorded):
        def confirm(self, rows: bytes) -> None:
            noted.append(rows)

    unsafe = deque([(Portion(0), b"a"), (slow := Portion(1), b"b"), (Portion(0), b"c")])
    recording = Noting(SyntheticLoad(1, seed=1), KIND, Tally())

    _confirm(unsafe, recording)
    assert noted == [b"a"]

    slow.unconfirmed = 0
    _confirm(unsafe, recording)
    assert noted == [b"a", b"b", b"c"]


def test_of_the_next_month_only_what_is_new_or_changed_is_published(tmp_path: Path) -> None:
    run(dump(tmp_path, *numbered([1, 2, 3, 4, 6]), artist(8, "\x01"), load="20260201"), tmp_path)

    later = [artist(1), artist(2, "B"), artist(4), artist(5), artist(6), artist(8, "\x01"), artist(9)]
    done = run(dump(tmp_path, *later), tmp_path, since="20260201")

    assert done.published == ["2", "5", "9"]
    assert (done.tally.unchanged, done.tally.records) == (3, 6)
    assert flags(tmp_path) == {1: 2, 2: 0, 4: UNCHANGED, 5: 0, 6: 2, 8: SKIPPED, 9: 0}
    with manifest(tmp_path) as found, manifest(tmp_path, "20260201") as before:
        assert (found.header.since, found.header.since_digest) == ("20260201", before.digest)
        assert (found.header.published, found.header.unchanged) == (3, 3)
        known = {row.id: row.sha256 for row in before.rows()}
        assert all(row.sha256 == known[row.id] for row in found.rows() if row.flag == UNCHANGED)


def test_months_follow_each_other_by_their_differences(tmp_path: Path) -> None:
    run(dump(tmp_path, *numbered([1, 2, 3]), load="20260101"), tmp_path)
    run(dump(tmp_path, *numbered([1, 2, 3]), load="20260201"), tmp_path, since="20260101")

    assert run(dump(tmp_path, *numbered([1, 2, 3])), tmp_path, since="20260201").published == []


def test_an_id_that_comes_again_is_published_although_the_month_before_had_its_bytes(tmp_path: Path) -> None:
    """Else the stores would keep what the first of the two said."""
    run(dump(tmp_path, artist(1), artist(2), load="20260201"), tmp_path)

    done = run(dump(tmp_path, artist(1, "B"), artist(1), artist(2)), tmp_path, since="20260201")

    assert done.published == ["1", "1"]
    with manifest(tmp_path) as found:
        assert (found.header.duplicates, found.header.ascending) == (1, False)
        assert next(found.rows()).raw == hashlib.sha256(artist(1)).digest()[:8]


def test_descending_ids_are_sorted_and_said(tmp_path: Path) -> None:
    with capture_logs() as logs:
        run(dump(tmp_path, *numbered([3, 2, 1])), tmp_path)

    assert flags(tmp_path) == {1: 0, 2: 0, 3: 0}
    assert any("not ascending: its manifest was sorted" in line["event"] for line in logs)


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ("4294967296", "the id 4294967296 is beyond 32 bits"),
        ("99999999999999999999", "the id 99999999999999999999 is beyond 32 bits"),
        ("007", "the id '007' is not a number without leading zeros"),
        ("seven", "the id 'seven' is not a number"),
        ("²", "the id '²' is not a number"),
    ],
)
def test_an_id_that_is_no_number_of_32_bits_means_no_manifest_and_the_load_goes_on(
    odd: str, why: str, tmp_path: Path
) -> None:
    done = run(dump(tmp_path, artist(1), artist(odd), artist(3)), tmp_path)

    assert done.published == ["1", odd, "3"]
    assert why in done.refusal
    assert not path_of(tmp_path, "20260301", KIND).exists()
    assert not part_of(path_of(tmp_path, "20260301", KIND)).exists()


def test_a_skipped_record_whose_id_is_somebody_elses_is_unknown(tmp_path: Path) -> None:
    """The first <id> in it is a member's."""
    broken = b"<artist><name>\x01</name><members><id>77</id><name id='77'>M</name></members></artist>"

    run(dump(tmp_path, artist(1), broken), tmp_path)

    with manifest(tmp_path) as found:
        assert found.header.unknown_skipped == 1
        assert list(found.ids()) == [1]


def test_a_dump_that_is_not_the_published_one_is_not_complete(tmp_path: Path) -> None:
    load = dump(tmp_path, artist(1))
    name = load.file_name(KIND)
    (tmp_path / "discogs_20260301_CHECKSUM.txt").write_text(f"{'0' * 64} {name}\n")

    with pytest.raises(ChecksumDiffers, match=f"{name} is not the file that was published: discogs_20260301_CHECKSUM"):
        run(load, tmp_path)

    assert not path_of(tmp_path, "20260301", KIND).exists()


def test_a_dump_that_is_the_published_one_is_said_to_match(tmp_path: Path) -> None:
    load = dump(tmp_path, artist(1))
    sha256 = hashlib.sha256(load.file(KIND).path.read_bytes()).hexdigest()
    (tmp_path / "discogs_20260301_CHECKSUM.txt").write_text(f"{sha256} {load.file_name(KIND)}\n")

    run(load, tmp_path)

    with manifest(tmp_path) as found:
        assert found.header.checksum == "matched"


def test_a_manifest_of_ids_only_has_no_hashes_and_parses_nothing(tmp_path: Path) -> None:
    run(dump(tmp_path, artist(1), artist(2, "\x01")), tmp_path, ids_only=True)

    with manifest(tmp_path) as found:
        assert [row.id for row in found.rows()] == [1, 2]
        assert {row.sha256 for row in found.rows()} == {NO_HASH}
        assert found.header.ids_only


def test_what_can_not_be_compared_with_is_a_sentence(tmp_path: Path) -> None:
    plan = Plan(tmp_path, since="20260201", target=TARGET)

    with pytest.raises(ManifestRefused, match=r"there is no manifest of artists of load 20260201"):
        open_since(plan, "20260301", KIND)
    with pytest.raises(ManifestRefused, match=r"--since 20260201 is not older than the load 20260201"):
        open_since(plan, "20260201", KIND)
    before = dump(tmp_path, artist(1), load="20260201")
    run(before, tmp_path, target="")
    with pytest.raises(
        ManifestRefused, match=r"were only read \(spindle manifest, spindle load\), and not published by the extractor"
    ):
        open_since(plan, "20260301", KIND)
    run(before, tmp_path, announced=False)
    with pytest.raises(ManifestRefused, match=r"it was not published to its end: no extraction_complete was sent"):
        open_since(plan, "20260301", KIND)
    with pytest.raises(ManifestRefused, match=r"were published to broker prefix, and this load goes to elsewhere"):
        open_since(replace(plan, target="elsewhere"), "20260301", KIND)
    run(dump(tmp_path, artist(1), load="20260201"), tmp_path, ids_only=True)
    with pytest.raises(ManifestRefused, match=r"has ids only .*Publish the whole load, without --since"):
        open_since(plan, "20260301", KIND)
    run(dump(tmp_path, artist(1), artist(1, "B"), load="20260201"), tmp_path)
    with pytest.raises(ManifestRefused, match=r"1 of its artists have an id that came before"):
        open_since(plan, "20260301", KIND)


def test_another_normaliser_can_not_be_compared_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(dump(tmp_path, artist(1), load="20260201"), tmp_path)
    monkeypatch.setattr("extractor.manifest.plan.NORMALISER", 2)

    with pytest.raises(ManifestRefused, match=r"were read by version 1 of the normaliser, and this is 2"):
        open_since(Plan(tmp_path, since="20260201", target=TARGET), "20260301", KIND)


def test_a_dump_that_is_written_in_another_way_is_said(tmp_path: Path) -> None:
    run(dump(tmp_path, *numbered(range(1, 11)), load="20260201"), tmp_path)
    indented = [record.replace(b"<name>", b"\n  <name>") for record in numbered(range(1, 11))]

    with capture_logs() as logs:
        run(dump(tmp_path, *indented), tmp_path, since="20260201")

    assert any("10 of 10 records are new or changed since 20260201" in line["event"] for line in logs)


def test_a_dump_that_has_shrunk_is_said(tmp_path: Path) -> None:
    run(dump(tmp_path, *numbered(range(1, 101)), load="20260201"), tmp_path)

    with capture_logs() as logs:
        run(dump(tmp_path, *numbered(range(1, 98))), tmp_path, since="20260201")

    assert any("shrunk by 3.0% since 20260201: 97 records of 100" in line["event"] for line in logs)


def test_a_dump_without_a_root_element_has_a_manifest_only_if_its_checksum_matches(tmp_path: Path) -> None:
    """Cut between two records it looks whole."""
    path = tmp_path / f"discogs_20260301_{KIND}.xml"
    path.write_bytes(artist(1) + artist(2))
    load = open_files([path])

    without = run(load, tmp_path)
    found = list(tmp_path.glob("*.manifest*"))
    (tmp_path / "discogs_20260301_CHECKSUM.txt").write_text(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.name}"
    )
    run(load, tmp_path)

    assert "no root element whose end could show that it is whole" in without.refusal
    assert without.published == ["1", "2"]
    assert found == []
    with manifest(tmp_path) as found_now:
        assert (found_now.header.complete, found_now.header.checksum) == (True, "matched")


def test_one_that_is_only_read_does_not_replace_one_that_was_published(tmp_path: Path) -> None:
    load = dump(tmp_path, artist(1))
    run(load, tmp_path)

    with pytest.raises(ManifestRefused, match=r"was written while artists of load 20260301 was published, and is not"):
        run(load, tmp_path, target="", ids_only=True)

    with manifest(tmp_path) as found:
        assert not found.header.ids_only


def test_made_up_months_have_manifests_and_differences_too(tmp_path: Path) -> None:
    months = [SyntheticLoad(2000, seed=5, month=month, kinds=(KIND,)) for month in (0, 1)]
    before, after = ({each.id: each.sha256 for each in messages(load, KIND)} for load in months)
    run(months[0], tmp_path)

    done = run(months[1], tmp_path, since=months[0].date)

    assert done.published == [each for each in after if before.get(each) != after[each]]
    assert 0 < len(done.published) < 0.1 * len(after)


def test_what_another_set_of_services_received_is_not_gone_on_with(tmp_path: Path) -> None:
    """What was confirmed when only one queue was there has not reached the other."""

    def target(*services: Service) -> str:
        plan = plan_of(ExtractorSettings(spindle_state=str(tmp_path), extractor_require=services), None)
        assert plan is not None
        return plan.target

    assert target(Service.TABLEINATOR) != target(Service.GRAPHINATOR, Service.TABLEINATOR) != target()
    assert target(Service.TABLEINATOR, Service.GRAPHINATOR) == target(Service.GRAPHINATOR, Service.TABLEINATOR)


@given(
    before=st.lists(_RECORD | _NAMELESS, max_size=12),
    after=st.lists(_RECORD | _NAMELESS, min_size=1, max_size=12),
    kept=st.integers(0, 12),
    was_published=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_what_another_listed_load_had_with_the_same_bytes_is_listed_the_same_without_being_parsed(
    before: list[bytes], after: list[bytes], kept: int, was_published: bool
) -> None:
    with TemporaryDirectory() as name, capture_logs():
        folder = Path(name)
        run(dump(folder, *before, load="20260201"), folder, target=TARGET if was_published else "")
        load = dump(folder, *before[:kept], *after)

        done, parsed = run(load, folder, target="", announced=False), run(load, folder / "fresh", target="")

        with manifest(folder) as found, manifest(folder / "fresh") as fresh:
            assert list(found.rows()) == list(fresh.rows())
            assert [getattr(found.header, field) for field in _COUNTS] == [
                getattr(fresh.header, field) for field in _COUNTS
            ]
        assert len(done.published) == len(parsed.published) - done.tally.known


_COUNTS = ("rows", "records", "published", "unchanged", "skipped", "unknown_skipped", "duplicates", "since", "digest")


def test_what_is_only_read_again_next_month_is_hardly_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def read(raw: bytes) -> Record:
        parsed.append(raw)
        return read_record(raw)

    monkeypatch.setattr(reader_module, "read_record", read)
    run(dump(tmp_path, *numbered([1, 2, 3, 4]), load="20260201"), tmp_path, target="")
    parsed.clear()

    run(dump(tmp_path, artist(1), artist(2, "B"), artist(4), artist(5)), tmp_path, target="")

    assert parsed == [artist(2, "B"), artist(5)]


@pytest.mark.parametrize("how", ["ids only", "another normaliser", "damaged", "published now"])
def test_another_load_that_can_not_tell_a_sha256_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    run(dump(tmp_path, artist(1), load="20260201"), tmp_path, target="", ids_only=how == "ids only")
    if how == "another normaliser":
        monkeypatch.setattr("extractor.manifest.plan.NORMALISER", -1)
    elif how == "damaged":
        path = path_of(tmp_path, "20260201", KIND)
        path.write_bytes(path.read_bytes()[:-1])

    done = run(dump(tmp_path, artist(1)), tmp_path, target=TARGET if how == "published now" else "")

    assert (done.published, done.tally.known) == (["1"], 0)
