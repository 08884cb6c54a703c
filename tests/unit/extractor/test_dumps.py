"""Which files make a load, and what is refused before anything is published."""

import gzip
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from common.errors import StartRefused
from common.kinds import KINDS
from extractor.loads import messages, only, open_files, open_folder, remarks
from extractor.reading import SkipReason
from extractor.streams import Truncated
from extractor.tally import EXAMPLES, Tally

ARTIST = b"<artist><id>1</id><name>A</name></artist>"
DOCUMENT = b"<artists>" + ARTIST + b"</artists>"


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def test_a_folder_is_the_load_that_its_files_are_named_after(tmp_path: Path) -> None:
    write(tmp_path / "discogs_20260301_labels.xml", b"<labels><label><id>1</id></label></labels>")
    write(tmp_path / "discogs_20260301_artists.xml.gz", DOCUMENT)
    write(tmp_path / "discogs_20260301_CHECKSUM.txt", b"sums")

    load = open_folder(tmp_path)

    assert (load.date, load.kinds) == ("20260301", ("artists", "labels"))
    assert load.file_name("artists") == "discogs_20260301_artists.xml.gz"
    assert [message.message_id for message in messages(load, "labels")] == ["labels:1"]


def test_what_a_folder_lacks_and_what_in_it_was_passed_over_is_said(tmp_path: Path) -> None:
    """Fault 74."""
    write(tmp_path / "discogs_20260301_artists.xml.gz", DOCUMENT)
    odd = ["discogs_20260301_labels.XML.GZ", "discogs_20260301_masters.xml.gz.part", "discogs_20261301_masters.xml"]
    for name in (*odd, "discogs_20260301_CHECKSUM.txt", "notes.txt"):
        (tmp_path / name).write_bytes(b"")

    load = open_folder(tmp_path)

    assert load.passed_over == tuple(odd)
    assert list(remarks(load, KINDS)) == [
        *(f"Passed over: {name} is not named like discogs_20260301_artists.xml.gz" for name in odd),
        "The load of 20260301 lacks labels, masters, releases: there is only artists",
    ]
    assert len(list(remarks(load, ["artists"]))) == len(odd)


def test_a_folder_without_a_dump_names_what_looks_like_one(tmp_path: Path) -> None:
    """Fault 74."""
    (tmp_path / "discogs_20260301_artists.xml.gz.part").write_bytes(b"")

    with pytest.raises(StartRefused, match=r"there is discogs_20260301_artists\.xml\.gz\.part"):
        open_folder(tmp_path)


def test_one_of_several_loads_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path / "discogs_20260301_artists.xml", DOCUMENT)
    write(tmp_path / "discogs_20260401_artists.xml", DOCUMENT)

    assert open_folder(tmp_path, date="20260401").date == "20260401"
    with pytest.raises(StartRefused, match=r"several loads \(20260301, 20260401\)"):
        open_folder(tmp_path)
    with pytest.raises(StartRefused, match="no dump file of 20260501"):
        open_folder(tmp_path, date="20260501")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("discogs_20260301_artists.xml", b"", "does not begin with <artists> or <artist>"),
        ("discogs_20260301_artists.xml.gz", b"", "does not begin"),
        ("discogs_20260301_artists.xml", b"<html><body>Not found</body></html>", "does not begin"),
        ("discogs_20260301_artists.xml", b"<labels></labels>", "does not begin"),
        ("discogs_20260301_artists.xml", gzip.compress(DOCUMENT, mtime=0), "is gzip, against its name"),
        ("discogs_20260301_artists.xml", b"<?xml version='1.0' encoding='ISO-8859-1'?>" + DOCUMENT, "in ISO-8859-1"),
        ("discogs_20260301_tracks.xml", DOCUMENT, "does not say what it is"),
        ("discogs_20261301_artists.xml", DOCUMENT, "does not say what it is"),
        ("artists.xml.gz", DOCUMENT, "does not say what it is"),
    ],
)
def test_an_odd_file_is_refused_with_a_sentence(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    path = write(tmp_path / name, content)

    with pytest.raises(StartRefused, match=sentence):
        open_files([path])


def test_a_file_that_is_gzip_by_its_name_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "discogs_20260301_artists.xml.gz"
    path.write_bytes(DOCUMENT)

    with pytest.raises(StartRefused, match="is not gzip, against its name"):
        open_files([path])


def test_a_file_that_ends_in_its_first_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "discogs_20260301_artists.xml.gz"
    path.write_bytes(gzip.compress(DOCUMENT, mtime=0)[:10])

    with pytest.raises(StartRefused, match="holds nothing that can be read"):
        open_files([path])


def test_absent_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="is not there"):
        open_files([tmp_path / "discogs_20260301_artists.xml.gz"])
    with pytest.raises(StartRefused, match="no dump file in"):
        open_folder(tmp_path)
    with pytest.raises(StartRefused, match="is not a folder"):
        open_folder(tmp_path / "nowhere")
    (tmp_path / "discogs_20260301_labels.xml").mkdir()
    with pytest.raises(StartRefused, match="is not a file"):
        open_folder(tmp_path)


def test_two_files_of_one_kind_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "discogs_20260301_artists.xml", DOCUMENT)
    write(tmp_path / "discogs_20260301_artists.xml.gz", DOCUMENT)

    with pytest.raises(StartRefused, match="two files hold artists"):
        open_folder(tmp_path)


def test_a_kind_that_no_file_holds_is_refused(tmp_path: Path) -> None:
    load = open_files([write(tmp_path / "discogs_20260301_artists.xml", DOCUMENT)])

    assert only(load, ("artists", "labels")).kinds == ("artists",)
    with pytest.raises(StartRefused, match="no file holds masters: there is artists"):
        only(load, ("masters",))


def test_broken_records_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    broken = b"<artist><id>2</id><name>\xff</name></artist>"
    load = open_files(
        [write(tmp_path / "discogs_20260301_artists.xml", b"<artists>" + (ARTIST + broken) * 30 + b"</artists>")]
    )
    tally = Tally()

    assert len(list(messages(load, "artists", tally))) == 30
    assert tally.records == 30
    assert tally.skipped == {SkipReason.INVALID_UTF8: 30}
    assert len(tally.examples) == EXAMPLES
    assert (tally.examples[0].record_id, tally.examples[0].offset) == ("2", len(b"<artists>" + ARTIST))
    assert tally.done == tally.total


def test_duplicates_within_a_file_are_published_as_they_come(tmp_path: Path) -> None:
    load = open_files([write(tmp_path / "discogs_20260301_artists.xml", b"<artists>" + ARTIST * 2 + b"</artists>")])

    assert [message.id for message in messages(load, "artists")] == ["1", "1"]


def test_a_truncated_file_gives_its_whole_records_first(tmp_path: Path) -> None:
    load = open_files([write(tmp_path / "discogs_20260301_artists.xml", b"<artists>" + ARTIST * 3 + ARTIST[:9])])
    tally = Tally()

    with pytest.raises(Truncated, match=r"inside the record that begins at byte 132 \(at byte 141 "):
        list(messages(load, "artists", tally))

    assert tally.records == 3


@pytest.mark.parametrize("behind", [b"garbage", b"\0" * 600 + b"x", b"\x1f"])
def test_what_stands_behind_the_last_gzip_member_is_passed_over_and_said(tmp_path: Path, behind: bytes) -> None:
    """As gzip itself does: the member was whole."""
    path = write(tmp_path / "discogs_20260301_artists.xml.gz", b"<artists>" + ARTIST * 3 + b"</artists>")
    path.write_bytes(path.read_bytes() + behind)

    with capture_logs() as lines:
        found = list(messages(open_files([path]), "artists"))

    assert len(found) == 3
    assert "Ignored bytes behind the end of the gzip file" in [line["event"] for line in lines]


def test_what_stands_behind_a_gzip_member_in_the_middle_of_the_dump_is_no_end(tmp_path: Path) -> None:
    path = write(tmp_path / "discogs_20260301_artists.xml.gz", b"<artists>" + ARTIST * 3)
    path.write_bytes(path.read_bytes() + b"garbage" + gzip.compress(ARTIST + b"</artists>"))

    with pytest.raises(Truncated, match="without </artists>"):
        list(messages(open_files([path]), "artists"))


def test_a_gzip_member_whose_sum_is_wrong_is_no_whole_one(tmp_path: Path) -> None:
    path = write(tmp_path / "discogs_20260301_artists.xml.gz", b"<artists>" + ARTIST * 3 + b"</artists>")
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))

    with pytest.raises(Truncated, match="can't be decompressed any further"):
        list(messages(open_files([path]), "artists"))
