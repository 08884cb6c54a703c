"""What a verification expects of a load, and what it says of the records that it can't expect."""

from pathlib import Path

from extractor.loads import open_files
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
