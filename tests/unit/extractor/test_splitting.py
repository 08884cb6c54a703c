"""A dump's bytes come apart into records, however they are laid out and whatever is broken between them."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractor import splitting
from extractor.reading import Skip, SkipReason
from extractor.splitting import Piece, split
from extractor.streams import DumpStream, Truncated


def release(number: int, body: str = "<title>A title</title>") -> bytes:
    return f'<release id="{number}" status="Accepted">{body}</release>'.encode()


def label(number: int, body: str = "") -> bytes:
    return f"<label><id>{number}</id><name>A name</name>{body}</label>".encode()


def pieces(document: bytes, kind: str = "releases", *, chunk: int = 1 << 20) -> list[bytes]:
    return [found.raw for found in split(chunks(document, chunk), kind) if isinstance(found, Piece)]


def skips(document: bytes, kind: str = "releases") -> list[Skip]:
    return [found for found in split([document], kind) if isinstance(found, Skip)]


def chunks(document: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(document), size):
        yield document[start : start + size]


FOUR = [release(1), release(2, ""), b"<release/>", release(4, "<![CDATA[</release>]]><!-- <release> -->")]
SUBLABELS = '<sublabels><label id="7">Nested</label>\n<label/><label>Old</label></sublabels>'


@pytest.mark.parametrize(
    "document",
    [
        b"<releases>" + b"".join(FOUR) + b"</releases>",
        b"<releases>\n" + b"\n".join(FOUR) + b"\n</releases>\n",
        b"<releases>\n\t" + b"\n\t".join(FOUR) + b"\n</releases >\n",
        b"\n".join(FOUR),
        b'\xef\xbb\xbf<?xml version="1.0" encoding="UTF-8"?>\n<!-- <release> -->\n<releases a=">">'
        + b"<!-- </releases> -->".join(FOUR)
        + b"</releases><!-- the end -->",
    ],
    ids=["one line", "lines", "indented", "no root", "prologue and comments"],
)
def test_records_are_found_in_every_layout(document: bytes) -> None:
    assert pieces(document) == FOUR
    assert skips(document) == []


@given(size=st.integers(1, 300))
def test_chunks_may_end_anywhere(size: int) -> None:
    document = b"<labels>\n" + label(1, SUBLABELS) + b"\n" + label(2) + b"\n" + label(3, SUBLABELS) + b"</labels>"

    assert pieces(document, "labels", chunk=size) == [label(1, SUBLABELS), label(2), label(3, SUBLABELS)]


def test_offsets_count_from_the_beginning_of_the_uncompressed_file() -> None:
    document = b"<releases>\n" + b"\n".join(release(number) for number in range(20_000)) + b"\n</releases>"

    found = list(split(chunks(document, 4096), "releases"))

    assert len(found) == 20_000
    assert all(isinstance(piece, Piece) and document.startswith(piece.raw, piece.offset) for piece in found)


def test_a_record_without_its_closing_tag_costs_only_itself() -> None:
    """Fault 64."""
    broken = b'<release id="2"><title>Cut off</ti'
    document = b"<releases>" + release(1) + broken + release(3) + b"</releases>"

    assert pieces(document) == [release(1), release(3)]
    assert [(skip.reason, skip.record_id, skip.offset) for skip in skips(document)] == [
        (SkipReason.NOT_CLOSED, "2", document.index(broken))
    ]


@pytest.mark.parametrize(
    "cut", ["</sublabels>", "</sublabels></label>", "Nested</label>\n<label/><label>Old</label></sublabels></label>"]
)
def test_a_label_that_breaks_off_among_its_sublabels_costs_only_itself(cut: str) -> None:
    broken = label(2, SUBLABELS).replace(cut.encode(), b"")
    document = b"<labels>" + label(1) + broken + label(3) + label(4, SUBLABELS) + b"</labels>"

    found = pieces(document, "labels")

    assert [raw for raw in found if raw != broken] == [label(1), label(3), label(4, SUBLABELS)]
    assert len(found) + len(skips(document, "labels")) == 4


def test_a_record_without_its_opening_tag_is_reported_once() -> None:
    broken = b'<rel\x00ease id="2"><title>Damaged</title></release>'
    document = b"<releases>" + release(1) + b"\n" + broken + b"\n" + release(3) + b"</releases>"

    assert pieces(document) == [release(1), release(3)]
    assert [(skip.reason, skip.offset) for skip in skips(document)] == [
        (SkipReason.NO_RECORD, document.index(b"\n<rel\x00"))
    ]


def test_the_last_record_may_be_the_broken_one() -> None:
    document = b"<releases>" + release(1) + b'<release id="2"><title>' + b"</releases>"

    assert pieces(document) == [release(1)]
    assert [skip.reason for skip in skips(document)] == [SkipReason.NOT_CLOSED]


@pytest.mark.parametrize("opening", [b"<!-- ", b"<![CDATA["])
def test_a_comment_that_never_ends_costs_only_its_record(monkeypatch: pytest.MonkeyPatch, opening: bytes) -> None:
    monkeypatch.setattr(splitting, "MAX_RECORD_BYTES", 10_000)
    broken = release(2, opening.decode())
    others = [release(number, "<title>" + "x" * 3000 + "</title>") for number in range(3, 20)]
    document = b"<releases>" + release(1) + broken + b"".join(others) + b"</releases>"

    assert pieces(document, chunk=2048) == [release(1), broken, *others]


def test_a_record_that_is_too_large_is_let_go_in_constant_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "MAX_RECORD_BYTES", 100_000)
    huge = release(2, "<title>" + "x" * 1_000_000 + "</title>")
    document = b"<releases>" + release(1) + huge + release(3) + b"</releases>"

    found = list(split(chunks(document, 10_000), "releases"))

    assert [piece.raw for piece in found if isinstance(piece, Piece)] == [release(1), release(3)]
    assert [(skip.reason, skip.record_id) for skip in found if isinstance(skip, Skip)] == [(SkipReason.TOO_LARGE, "2")]


@pytest.mark.parametrize("kept", [0.3005, 0.5005, 0.9005, 0.9995])
@pytest.mark.parametrize("root", [b"<releases>", b""])
def test_a_file_that_was_cut_gives_its_whole_records_and_then_ends_in_an_error(kept: float, root: bytes) -> None:
    document = root + b"".join(release(number) for number in range(1000)) + root.replace(b"<", b"</")
    cut = document[: int(len(document) * kept)]
    whole: list[Piece | Skip] = []

    with pytest.raises(Truncated) as error:
        whole.extend(split([cut], "releases"))

    assert [piece.raw for piece in whole if isinstance(piece, Piece)] == [
        release(number) for number in range(cut.count(b"</release>"))
    ]
    assert error.value.offset == len(cut)


def test_a_missing_root_end_is_a_truncation() -> None:
    with pytest.raises(Truncated, match="without </releases>"):
        list(split([b"<releases>" + release(1) + b"\n"], "releases"))


@pytest.mark.parametrize("lost", [1, 8, 9, 1000])
def test_a_gzip_file_that_was_cut_says_how_far_it_could_be_read(tmp_path: Path, lost: int) -> None:
    document = b"<releases>" + b"".join(release(number, f"<title>{number * 7919}</title>") for number in range(9000))
    path = tmp_path / "dump.xml.gz"
    path.write_bytes(gzip.compress(document + b"</releases>")[:-lost])
    whole: list[Piece | Skip] = []

    with DumpStream(path) as stream, pytest.raises(Truncated) as error:
        whole.extend(split(stream, "releases"))

    pieces_ = [piece.raw for piece in whole if isinstance(piece, Piece)]
    assert document.startswith(b"<releases>" + b"".join(pieces_))
    assert len(pieces_) == document[: error.value.offset].count(b"</release>")


def test_a_gzip_file_that_is_damaged_in_the_middle_ends_there(tmp_path: Path) -> None:
    document = b"<releases>" + b"".join(release(number, f"<title>{number * 7919}</title>") for number in range(9000))
    packed = bytearray(gzip.compress(document + b"</releases>"))
    packed[len(packed) // 2 : len(packed) // 2 + 50] = bytes(50)
    path = tmp_path / "dump.xml.gz"
    path.write_bytes(packed)

    with DumpStream(path) as stream, pytest.raises(Truncated):
        list(split(stream, "releases"))


def test_a_gzip_file_of_several_members_is_one_dump(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml.gz"
    path.write_bytes(gzip.compress(b"<releases>" + release(1)[:20]) + gzip.compress(release(1)[20:] + b"</releases>"))

    with DumpStream(path) as stream:
        found = list(split(stream, "releases"))

    assert [piece.raw for piece in found if isinstance(piece, Piece)] == [release(1)]
