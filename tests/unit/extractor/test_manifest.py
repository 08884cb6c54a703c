"""A manifest: what was written is what is read, and what was altered is refused with a sentence."""

import os
import random
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from extractor.manifest.format import (
    HEADER_BYTES,
    MAX_ID,
    PUBLISHED,
    ROW,
    SKIPPED,
    UNCHANGED,
    Header,
    ManifestRefused,
    Row,
    decode_header,
    encode_header,
    part_of,
    path_of,
)
from extractor.manifest.reader import Manifest
from extractor.manifest.sorting import sort_rows
from extractor.manifest.writer import Writer, mark_announced

HEADER = Header(
    load="20260301",
    kind="masters",
    file="discogs_20260301_masters.xml.gz",
    bytes=3,
    extractor="0.1.0",
    normaliser=1,
    target="broker/prefix",
)


def rows_of(*ids: int, flag: int = PUBLISHED) -> list[Row]:
    return [Row(each, each.to_bytes(8, "big"), each.to_bytes(8, "little"), flag) for each in ids]


def packed(rows: Sequence[Row]) -> bytes:
    return b"".join(ROW.pack(*row) for row in rows)


def write(state: Path, rows: Sequence[Row], header: Header = HEADER) -> Path:
    path = path_of(state, header.load, header.kind)
    with Writer(path, header) as writer:
        writer.cut_to(0)
        writer.append(packed(rows))
        writer.finish(msgspec.structs.replace(header, complete=True))
        writer.keep()
    return path


def opened(path: Path) -> Manifest:
    return Manifest.open(path, load=HEADER.load, kind=HEADER.kind)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    rows = rows_of(1, 2, 300) + rows_of(70_000, flag=SKIPPED) + rows_of(MAX_ID, flag=UNCHANGED)

    with opened(write(tmp_path, rows)) as manifest:
        assert list(manifest.rows()) == rows
        assert [len(chunk) for chunk in manifest.chunks(2)] == [2, 2, 1]
        assert list(manifest.chunks(2, start=3)) == [rows[3:]]
        assert list(manifest.ids()) == [row.id for row in rows]
        assert len(manifest) == manifest.header.rows == 5
        assert manifest.header.ascending
    assert not part_of(manifest.path).exists()


def test_an_empty_manifest_has_no_ids(tmp_path: Path) -> None:
    with opened(write(tmp_path, [])) as manifest:
        assert list(manifest.chunks(10)) == []
        assert list(manifest.ids()) == []


def test_rows_in_any_order_become_ascending_and_each_id_once(tmp_path: Path) -> None:
    ids = random.Random(1).choices(range(2000), k=3000)  # with many of them twice
    rows = [Row(each, place.to_bytes(8, "big"), bytes(8), PUBLISHED) for place, each in enumerate(ids)]
    last = {row.id: row for row in rows}

    with opened(write(tmp_path, rows)) as manifest:
        assert list(manifest.rows()) == sorted(last.values())
        assert not manifest.header.ascending
        assert manifest.header.duplicates == 3000 - len(last)
    assert [path.name for path in tmp_path.iterdir()] == [manifest.path.name]


def test_of_an_id_that_came_twice_the_published_row_counts(tmp_path: Path) -> None:
    rows = rows_of(7) + rows_of(7, flag=SKIPPED)

    with opened(write(tmp_path, rows)) as manifest:
        assert list(manifest.rows()) == rows_of(7)


def test_sorting_in_many_runs_is_sorting(tmp_path: Path) -> None:
    rows = rows_of(*random.Random(2).sample(range(10_000), 1000))

    count, _ = sort_rows([packed(rows[:333]), packed(rows[333:])], tmp_path / "sorted", run_rows=37)

    assert count == 1000
    assert (tmp_path / "sorted").read_bytes()[HEADER_BYTES:] == packed(sorted(rows))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def cut_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(ROW.size))


def flip_body(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def swap_rows(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:HEADER_BYTES] + content[-ROW.size :] + content[HEADER_BYTES : -ROW.size])


def flip_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"unknown_skipped":0', b'"unknown_skipped":1'))


def other_format(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"spindle_manifest":1', b'"spindle_manifest":9'))


def overwrite(path: Path) -> None:
    path.write_bytes(b"<masters>" * 1000)


def rewritten(path: Path, **changes: object) -> None:
    content = path.read_bytes()
    header = msgspec.structs.replace(decode_header(content[:HEADER_BYTES], path), **changes)
    path.write_bytes(encode_header(header) + content[HEADER_BYTES:])


def of_another_load(path: Path) -> None:
    rewritten(path, load="20260201")


def of_another_kind(path: Path) -> None:
    rewritten(path, kind="labels")


def incomplete(path: Path) -> None:
    rewritten(path, complete=False)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            cut,
            r"was cut: it has 62 bytes behind its header, and its header says 3 rows of 21.",
        ),
        (cut_header, r"is not a manifest: it does not begin as one"),
        (grow, r"was altered: it has 84 bytes behind its header"),
        (flip_body, r"was altered: its body is not the one whose digest its header has"),
        (swap_rows, r"was altered: its ids are not ascending"),
        (flip_header, r"was altered: its header is not as it was written"),
        (other_format, r"has the format 9, and only 1 can be read"),
        (overwrite, r"is not a manifest"),
        (of_another_load, r"is the manifest of masters of load 20260201, and not of masters of load 20260301"),
        (of_another_kind, r"is the manifest of labels of load 20260301, and not of masters"),
        (incomplete, r"is not complete: the dump was not read to its end, or its checksum did not match"),
        (Path.unlink, r"there is no manifest of masters of load 20260301 .*`spindle manifest FOLDER` makes it"),
    ],
)
def test_a_manifest_that_is_not_what_it_was_is_refused(damage: object, sentence: str, tmp_path: Path) -> None:
    path = write(tmp_path, rows_of(1, 2, 300))
    assert callable(damage)
    damage(path)

    with pytest.raises(ManifestRefused, match=sentence):
        opened(path)


def test_a_manifest_of_another_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, rows_of(1))
    dump = tmp_path / HEADER.file
    dump.write_bytes(b"abc")
    Manifest.open(path, load=HEADER.load, kind=HEADER.kind, of=dump).close()

    dump.write_bytes(b"abcd")

    with pytest.raises(ManifestRefused, match=r"with 3 bytes, and not of discogs_20260301_masters.xml.gz with 4"):
        Manifest.open(path, load=HEADER.load, kind=HEADER.kind, of=dump)


def test_one_that_is_only_begun_is_refused_as_such(tmp_path: Path) -> None:
    path = path_of(tmp_path, HEADER.load, HEADER.kind)
    with Writer(path, HEADER) as writer:
        writer.append(packed(rows_of(1)))

    with pytest.raises(ManifestRefused, match=r"is not finished .*the load was interrupted, is still going on"):
        opened(path)


def begun(path: Path, header: Header = HEADER) -> list[Row]:
    with Writer(path, header) as writer:
        return list(writer.earlier())


def test_a_manifest_that_was_begun_is_gone_on_with(tmp_path: Path) -> None:
    path = path_of(tmp_path, HEADER.load, HEADER.kind)
    with Writer(path, HEADER) as writer:
        writer.append(packed(rows_of(1, 2)))
    with part_of(path).open("ab") as file:
        file.write(b"half a row")

    assert begun(path) == rows_of(1, 2)


@pytest.mark.parametrize("other", [{"normaliser": 2}, {"target": "elsewhere"}, {"since_digest": "0"}])
def test_what_was_begun_for_something_else_is_begun_again(other: dict[str, object], tmp_path: Path) -> None:
    path = path_of(tmp_path, HEADER.load, HEADER.kind)
    with Writer(path, HEADER) as writer:
        writer.append(packed(rows_of(1, 2)))

    assert begun(path, msgspec.structs.replace(HEADER, **other)) == []


def test_a_finished_kind_of_a_load_that_is_not_announced_is_gone_on_with(tmp_path: Path) -> None:
    path = write(tmp_path, rows_of(1, 2))

    assert begun(path) == rows_of(1, 2)


def test_a_load_that_was_announced_is_published_again(tmp_path: Path) -> None:
    path = write(tmp_path, rows_of(1, 2))
    mark_announced(path)

    assert begun(path) == []
    assert len(opened(path)) == 2  # until the new one is finished


def test_what_is_made_to_last_says_that_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for ids that had to be sorted, whose header is new."""
    lasting: list[bool] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        sync(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            lasting.append(decode_header(os.pread(descriptor, HEADER_BYTES, 0), tmp_path).complete)

    monkeypatch.setattr(os, "fsync", note)
    write(tmp_path, rows_of(1, 2))
    write(tmp_path, rows_of(2, 1))

    assert lasting == [True, True]


def test_two_processes_do_not_write_one_manifest(tmp_path: Path) -> None:
    path = path_of(tmp_path, HEADER.load, HEADER.kind)

    with Writer(path, HEADER), pytest.raises(ManifestRefused, match="another process is publishing or reading"):
        Writer(path, HEADER)


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ManifestRefused, match=r"can't be written: .*SPINDLE_STATE has to name a folder"):
        Writer(path_of(tmp_path / "file", HEADER.load, HEADER.kind), HEADER)
