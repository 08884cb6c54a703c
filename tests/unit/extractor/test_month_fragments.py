"""Two real months: what the second one publishes is what an independent comparison of their XML says."""

import gzip
from pathlib import Path

import pytest
from lxml import etree

from extractor.loads import open_folder
from extractor.manifest.format import PUBLISHED, UNCHANGED, path_of
from extractor.manifest.plan import Plan
from extractor.manifest.reader import Manifest
from extractor.manifest.recording import Recorded
from extractor.manifest.writer import mark_announced
from extractor.message import Message, Record
from extractor.parsing import reader as reader_module
from extractor.reading import read_record
from extractor.tally import Tally

FRAGMENTS = Path(__file__).parents[4] / "shared/data/discogs"
KIND = "masters"

pytestmark = pytest.mark.skipif(not FRAGMENTS.is_dir(), reason="no real fragments in ../shared/data/discogs")


def elements(month: str) -> dict[int, bytes]:
    """Every master's XML in canonical form, by a parse of the whole file."""
    [path] = (FRAGMENTS / month).glob(f"discogs_*_{KIND}.xml.gz")
    root = etree.fromstring(gzip.decompress(path.read_bytes()), etree.XMLParser(huge_tree=True))
    return {int(each.attrib["id"]): etree.tostring(each, method="c14n", with_tail=False) for each in root}


def draw(month: str, state: Path, since: str = "", target: str = "t") -> set[int]:
    """The ids that a month publishes; its manifest is kept."""
    load = open_folder(FRAGMENTS / month)
    with Recorded(load, KIND, Tally(), Plan(state, since=since, target=target)) as recorded:
        published = set()
        for message in recorded.messages():
            if isinstance(message, Message):
                published.add(int(message.id))
            recorded.confirm(recorded.take_rows())
        recorded.finish()
        recorded.keep()
    mark_announced(path_of(state, load.date, KIND))
    return published


def test_the_second_month_publishes_what_is_new_or_changed_and_parses_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = elements("2025-11"), elements("2025-12")
    new = after.keys() - before.keys()
    changed = {each for each in after.keys() & before.keys() if after[each] != before[each]}
    same = after.keys() - new - changed
    parsed = []

    def note(raw: bytes) -> Record:
        parsed.append(raw)
        return read_record(raw)

    first = draw("2025-11", tmp_path)
    monkeypatch.setattr(reader_module, "read_record", note)
    second = draw("2025-12", tmp_path, since=open_folder(FRAGMENTS / "2025-11").date)

    assert first == before.keys()
    assert (len(changed), len(new), len(same)) == (150, 2601, 3117)
    assert second == new | changed
    assert len(parsed) == len(second)
    date = open_folder(FRAGMENTS / "2025-12").date
    with Manifest.open(path_of(tmp_path, date, KIND), load=date, kind=KIND) as manifest:
        flags = {row.id: row.flag for row in manifest.rows()}
    assert flags == {each: UNCHANGED if each in same else PUBLISHED for each in after}


def test_the_second_month_is_listed_by_parsing_what_is_new_or_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `spindle load` lists it."""
    draw("2025-11", tmp_path, target="")
    draw("2025-12", tmp_path / "fresh", target="")
    parsed = []

    def note(raw: bytes) -> Record:
        parsed.append(raw)
        return read_record(raw)

    monkeypatch.setattr(reader_module, "read_record", note)
    draw("2025-12", tmp_path, target="")

    assert len(parsed) == 150 + 2601
    date = open_folder(FRAGMENTS / "2025-12").date
    found, fresh = (
        Manifest.open(path_of(state, date, KIND), load=date, kind=KIND) for state in (tmp_path, tmp_path / "fresh")
    )
    with found, fresh:
        assert list(found.rows()) == list(fresh.rows())
