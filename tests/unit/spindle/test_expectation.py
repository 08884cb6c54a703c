"""What a verification expects of a load, and what it says of the records that it can't expect."""

import tracemalloc
from pathlib import Path

from extractor.loads import open_files
from extractor.synthetic.synthetic import SyntheticLoad
from spindle.verification.expectation import Expectation
from spindle.verification.findings import Verification, as_data
from spindle.verification.showing import skipped_lines


def test_records_that_could_not_be_read_are_said(tmp_path: Path) -> None:
    """Fault 74."""
    bad = "<artist><name>No id</name></artist>" * 2 + "<artist><id>2</id><name>&#1;</name></artist>"
    dump = tmp_path / "discogs_20260301_artists.xml"
    dump.write_text(f"<artists><artist><id>1</id></artist>{bad}</artists>")

    expectation = Expectation(open_files([dump]), "artists")

    found = Verification("a load", skipped={"artists": expectation.skipped})
    assert (expectation.published, expectation.skipped) == (1, {"no_id": 2, "control_character": 1})
    assert list(skipped_lines(found)) == [
        "artists: 3 records of the source were skipped and not compared: no_id 2, control_character 1"
    ]
    assert as_data(found)["skipped"] == {"artists": {"no_id": 2, "control_character": 1}}


def test_of_an_id_that_comes_twice_the_last_record_counts(tmp_path: Path) -> None:
    dump = tmp_path / "discogs_20260301_artists.xml"
    names = ("1", "A"), ("2", "B"), ("1", "C"), ("07", "D"), ("07", "E")
    records = "".join(f"<artist><id>{number}</id><name>{name}</name></artist>" for number, name in names)
    dump.write_text(f"<artists>{records}</artists>")
    alone = tmp_path / "alone" / dump.name
    alone.parent.mkdir()
    alone.write_text(
        "<artists>" + "".join(f"<artist><id>{i}</id><name>{n}</name></artist>" for i, n in names[1:3]) + "</artists>"
    )

    expectation, wanted = Expectation(open_files([dump]), "artists"), Expectation(open_files([alone]), "artists")

    [chunk] = expectation.chunks()
    assert (expectation.published, len(expectation), sorted(chunk)) == (5, 3, ["07", "1", "2"])
    assert {each: chunk[each] for each in ("1", "2")} == {
        each: fingerprint for part in wanted.chunks() for each, fingerprint in part.items()
    }
    assert all(each in expectation for each in ("1", "2", "07"))
    assert not any(each in expectation for each in ("7", "3", "x"))


def test_an_expectation_keeps_no_record_in_memory() -> None:
    """Fingerprints by id took 400 bytes a record: 8 GB for all releases."""
    load = SyntheticLoad(3000, seed=1)
    Expectation(load, "artists")  # what a generator keeps is none of ours
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    expectation = Expectation(load, "artists")
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert len(expectation) == 885
    assert kept < 885 * 100
