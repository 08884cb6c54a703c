"""The bench's records, and the files it makes of them."""

from pathlib import Path

import msgspec

from bench.dump import write_dump
from bench.records import CHANGED_EVERY, load_of, releases, with_changes
from extractor.loads import messages, open_files

LOAD = load_of(2000, seed=3)
RELEASES = releases(LOAD, 2000)


def test_the_sizes_of_the_records_are_those_of_real_ones() -> None:
    load = load_of(6000, seed=1)
    sizes = sorted(len(message.body) for message in releases(load, 6000))
    mean, median = sum(sizes) / len(sizes), sizes[len(sizes) // 2]

    assert abs(mean / 3119 - 1) < 0.1  # bytes of a compact message, measured on a whole dump
    assert abs(median / 2293 - 1) < 0.1


def test_one_record_in_twenty_changes_and_keeps_its_id() -> None:
    changed = with_changes(RELEASES)

    assert [message.id for message in changed] == [message.id for message in RELEASES]
    differing = [position for position, both in enumerate(zip(changed, RELEASES, strict=True)) if both[0] != both[1]]
    assert differing == list(range(CHANGED_EVERY - 1, len(RELEASES), CHANGED_EVERY))
    assert changed[differing[0]].sha256 != RELEASES[differing[0]].sha256


def test_a_dump_that_was_written_is_read_as_the_same_messages(tmp_path: Path) -> None:
    path = tmp_path / "discogs_20260301_releases.xml"

    write_dump(path, RELEASES)

    read = list(messages(open_files([path]), "releases"))
    assert [msgspec.structs.astuple(each) for each in read] == [msgspec.structs.astuple(each) for each in RELEASES]
