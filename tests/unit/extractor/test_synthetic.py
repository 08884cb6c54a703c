"""Synthetic records are distributed as real ones are, reproducible one by one, and storable."""

import hashlib
import json
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest

from common.kinds import KINDS
from extractor.loads import SyntheticLoad, messages, records
from extractor.message import Record, canonical_json
from extractor.synthetic.months import is_gone, is_merged
from extractor.synthetic.synthetic import HUGE_FIRST, base_counts, indices, synthetic_record

SEED = 20260301
LOAD = SyntheticLoad(count=35_715, seed=SEED)  # 20,000 releases


def of_tracks(field: str) -> Callable[[Record], int]:
    return lambda record: sum(len(track.get(field, {}).get("artist", ())) for track in tracks(record))


def tracks(record: Record) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = record["tracklist"]["track"]
    return found


def within(field: str, child: str) -> Callable[[Record], int]:
    return lambda record: len(record.get(field, {}).get(child, ()))


def listed(field: str) -> Callable[[Record], int]:
    return lambda record: len(record.get(field, ()))


def descriptions(record: Record) -> int:
    return sum(len(entry.get("descriptions", {}).get("description", ())) for entry in record["formats"])


# The table of measured real releases: share present, mean, p50, p95; None if it has no such figure.
RELEASES: dict[str, tuple[Callable[[Record], int], float | None, float | None, int | None, int | None]] = {
    "artists": (listed("artists"), 1.00, 1.24, 1, 3),
    "extraartists": (listed("extraartists"), 0.59, 3.81, 1, 17),
    "labels": (listed("labels"), 1.00, 1.14, 1, 2),
    "formats": (listed("formats"), None, 1.04, None, None),
    "descriptions": (descriptions, 0.97, 2.10, None, None),
    "genres": (listed("genres"), 1.00, 1.30, 1, 3),
    "styles": (listed("styles"), 0.85, 1.50, 1, 3),
    "tracks": (within("tracklist", "track"), 1.00, 9.18, 8, 20),
    "track artists": (of_tracks("artists"), 0.10, 1.71, 0, 14),
    "track credits": (of_tracks("extraartists"), 0.36, 5.00, 0, 24),
    "identifiers": (within("identifiers", "identifier"), 0.53, 1.67, 1, 6),
    "videos": (within("videos", "video"), 0.53, 2.32, 1, 11),
    "companies": (within("companies", "company"), 0.45, 1.68, 0, 7),
    "master": (lambda record: record["master_id"] != "0", 0.615, None, None, None),
}


@pytest.fixture(scope="module")
def releases() -> list[Record]:
    found = list(records(LOAD, "releases"))
    assert len(found) == 20_000
    return found


@pytest.mark.parametrize("row", RELEASES)
def test_20_000_releases_are_distributed_as_the_table_says(releases: list[Record], row: str) -> None:
    count, share, mean, p50, p95 = RELEASES[row]
    counts = sorted(count(record) for record in releases)

    measured = {
        "share": sum(map(bool, counts)) / len(counts),
        "mean": sum(counts) / len(counts),
        "p50": percentile(counts, 0.50),
        "p95": percentile(counts, 0.95),
    }

    expected = {"share": share, "mean": mean, "p50": p50, "p95": p95}
    assert measured == {
        name: pytest.approx(value, rel=0.1) if value is not None else measured[name] for name, value in expected.items()
    }


# Means of the other kinds, from the same sample.
OTHERS: dict[str, dict[str, tuple[Callable[[Record], int], float | None, float]]] = {
    "masters": {
        "artists": (listed("artists"), None, 1.17),
        "genres": (listed("genres"), None, 1.31),
        "styles": (listed("styles"), None, 1.71),
        "videos": (within("videos", "video"), 0.57, 2.18),
    },
    "artists": {
        "namevariations": (within("namevariations", "name"), 0.26, 0.89),
        "aliases": (listed("aliases"), 0.115, 0.55),
        "members": (listed("members"), 0.079, 0.22),
        "groups": (listed("groups"), 0.119, 0.31),
        "urls": (within("urls", "url"), 0.145, 0.46),
    },
    "labels": {
        "urls": (within("urls", "url"), 0.149, 0.44),
        "sublabels": (listed("sublabels"), 0.067, 0.23),
        "parentLabel": (lambda record: "parentLabel" in record, 0.083, 0.083),
    },
}


@pytest.mark.parametrize(("kind", "row"), [(kind, row) for kind, rows in OTHERS.items() for row in rows])
def test_the_other_kinds_have_the_measured_shares_and_means(kind: str, row: str) -> None:
    count, share, mean = OTHERS[kind][row]
    counts = [count(made(LOAD, kind, index)) for index in range(20_000)]

    assert sum(counts) / len(counts) == pytest.approx(mean, rel=0.1)
    if share is not None:
        assert sum(map(bool, counts)) / len(counts) == pytest.approx(share, rel=0.1)


def test_values_are_as_frequent_as_in_life(releases: list[Record]) -> None:
    everything = len(releases)
    genres = Counter(genre for record in releases for genre in set(record["genres"]))
    formats = Counter(entry["name"] for record in releases for entry in record["formats"])
    countries = Counter(record.get("country") for record in releases)
    credited = Counter(entry["role"] for record in releases for entry in record.get("extraartists", ()))
    various = sum(any(entry.get("id") == "194" for entry in record["artists"]) for record in releases)

    assert 0.06 <= various / everything <= 0.08
    for name, share in {"Rock": 0.33, "Electronic": 0.32, "Pop": 0.18, "Classical": 0.07, "Jazz": 0.07}.items():
        assert genres[name] / everything == pytest.approx(share, rel=0.1), name
    for name, share in {"Vinyl": 0.52, "CD": 0.29, "File": 0.09, "Cassette": 0.07}.items():
        assert formats[name] / formats.total() == pytest.approx(share, rel=0.1), name
    for country, share in {"US": 0.25, "Germany": 0.09, "UK": 0.08, "Japan": 0.06, "Italy": 0.04, None: 0.03}.items():
        assert countries[country] / everything == pytest.approx(share, rel=0.15), country
    assert credited["Written-By"] / credited.total() == pytest.approx(0.23, rel=0.1)


@pytest.mark.parametrize(
    ("name", "texts", "p50", "p95", "foreign"),
    [
        ("release titles", lambda record: [record["title"]], 17, 47, 0.095),
        ("track titles", lambda record: [track["title"] for track in tracks(record)], 15, 39, 0.097),
        ("notes", lambda record: [record["notes"]] if "notes" in record else [], 91, 527, 0.28),
        ("artist names", lambda record: [entry["name"] for entry in record["artists"]], 13, 24, 0.115),
    ],
)
def test_texts_are_as_long_and_as_foreign_as_in_life(
    releases: list[Record], name: str, texts: Callable[[Record], Iterable[str]], p50: int, p95: int, foreign: float
) -> None:
    found = [text for record in releases for text in texts(record)]
    lengths = sorted(map(len, found))

    assert percentile(lengths, 0.5) == pytest.approx(p50, rel=0.1), name
    assert percentile(lengths, 0.95) == pytest.approx(p95, rel=0.1), name
    assert sum(not text.isascii() for text in found) / len(found) == pytest.approx(foreign, rel=0.15), name


def test_releases_are_as_large_as_in_life(releases: list[Record]) -> None:
    sizes = sorted(len(canonical_json(record)) for record in releases)

    assert sum(sizes) / len(sizes) == pytest.approx(3119, rel=0.1)
    for share, size in {0.10: 930, 0.50: 2293, 0.90: 6103, 0.99: 12543}.items():
        assert percentile(sizes, share) == pytest.approx(size, rel=0.15), share
    assert sizes[-1] > 200_000


@pytest.mark.parametrize(("kind", "mean"), [("masters", 894), ("artists", 227), ("labels", 171)])
def test_the_other_kinds_are_as_large_as_in_life(kind: str, mean: int) -> None:
    sizes = [len(canonical_json(made(LOAD, kind, index))) for index in range(5000)]

    assert sum(sizes) / len(sizes) == pytest.approx(mean, rel=0.15)


def test_a_load_has_the_proportions_of_a_whole_dump_and_adds_up() -> None:
    assert base_counts(20_000) == {"artists": 5900, "labels": 1400, "masters": 1500, "releases": 11200}
    assert all(sum(base_counts(count).values()) == count for count in range(200))


def test_every_record_of_a_load_has_an_id_of_its_own_and_can_be_stored() -> None:
    for kind in KINDS:
        found = list(messages(SyntheticLoad(count=10_000, seed=1), kind))

        assert [message.id for message in found] == [str(1 + index) for index in range(len(found))]
        assert not any(b"\\u0000" in message.body for message in found)
        assert all(message.body.decode() for message in found)


def test_a_load_is_the_same_in_every_process() -> None:
    code = (
        "from extractor.loads import SyntheticLoad, messages\n"
        "for kind in ('artists', 'labels', 'masters', 'releases'):\n"
        "    print(*(m.sha256 for m in messages(SyntheticLoad(count=300, seed=5, month=2), kind)))"
    )
    here = [[m.sha256 for m in messages(SyntheticLoad(count=300, seed=5, month=2), kind)] for kind in KINDS]

    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert [line.split() for line in there.splitlines()] == here


def test_a_load_is_the_same_for_ever() -> None:
    """What a seed gives is part of the interface: measurements and stored hashes refer to it."""
    found = hashlib.sha256()
    for kind in KINDS:
        for message in messages(SyntheticLoad(count=2000, seed=7, month=1), kind):
            found.update(message.body)

    assert found.hexdigest() == "815c9f17ac4bb8594ffd044da4540e9cecfaa06459e154ed7e4903300fdfe9b0"


def test_another_seed_gives_other_records() -> None:
    one, other = (list(messages(SyntheticLoad(count=500, seed=seed), "releases")) for seed in (1, 2))

    assert not {message.sha256 for message in one} & {message.sha256 for message in other}


def test_any_record_can_be_made_alone(releases: list[Record]) -> None:
    assert synthetic_record(LOAD, "releases", 12_345) == releases[12_345]


def test_the_hard_cases_are_there(releases: list[Record]) -> None:
    everything = b"".join(map(canonical_json, releases)).decode()
    found = [*releases, *(made(LOAD, "artists", index) for index in range(10_000))]

    assert all(hard in everything for hard in ("\x85", "\u202e", "\U0001f600", "\u2028", "\\t", "\\r", "DO NOT USE"))
    assert any(not unicodedata.is_normalized("NFC", record["title"]) for record in releases)
    assert any(record["title"] != record["title"].strip() for record in releases)
    assert any("name" not in record and "title" not in record for record in found)
    assert any(entry.get("id") == "0" for record in releases for entry in record.get("extraartists", ()))
    assert any("id" not in entry for record in releases for entry in record.get("extraartists", ()))
    assert any(len({entry.get("id") for entry in r["labels"]}) < len(r["labels"]) for r in releases)
    assert any(len({entry.get("id") for entry in r["artists"]}) < len(r["artists"]) for r in releases)
    assert any(len(set(r.get("styles", ()))) < len(r.get("styles", ())) for r in releases)
    assert {"0000", "1999-13-45", "19??"} <= {record.get("released") for record in releases}
    assert any(int(record["master_id"]) > base_counts(LOAD.count)["masters"] for record in releases)
    assert len(tracks(releases[HUGE_FIRST])) == 571


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_month_has_a_share_of_changes_a_few_removals_and_some_new_records(kind: str) -> None:
    count = {"artists": 17_000, "labels": 71_000, "masters": 67_000, "releases": 9_000}[kind]
    before, after = ({m.id: m.sha256 for m in messages(SyntheticLoad(count, 3, month), kind)} for month in (1, 2))

    common = before.keys() & after.keys()
    assert sum(before[i] != after[i] for i in common) / len(common) == pytest.approx(0.05, abs=0.01)
    assert len(before.keys() - after.keys()) / len(before) == pytest.approx(0.001, abs=0.0009)
    assert len(after.keys() - before.keys()) / len(before) == pytest.approx(0.005, rel=0.05)  # some come back


def test_of_what_is_gone_some_come_back_and_what_was_merged_does_not() -> None:
    base, last = 6000, 12
    gone = [{i for i in range(base) if is_gone(3, "artists", i, month, since=0)} for month in range(last + 1)]
    merged = {i for i in range(base) for month in range(1, last + 1) if is_merged(3, "artists", i, month, since=0)}

    came_back = {i for before, after in pairwise(gone) for i in before - after}

    ever = set().union(*gone)
    assert len(ever) / base == pytest.approx(1 - 0.999**last, rel=0.3)
    assert len(merged) / len(ever) == pytest.approx(0.4, abs=0.15)
    assert came_back
    assert merged <= gone[last]


def test_what_was_merged_is_named_by_the_record_before_it() -> None:
    load = SyntheticLoad(40_000, 3, month=6)
    found = {m.id: json.loads(m.body) for m in messages(load, "labels")}
    base = base_counts(load.count)["labels"]
    merged = [i for i in range(base) for month in range(1, 7) if is_merged(3, "labels", i, month, since=0)]

    assert merged
    for index in merged:
        assert str(index + 1) not in found
        if before := found.get(str(index)):
            assert f"Merged with {index + 1} in month" in before["profile"]


def test_a_change_is_a_change_every_time() -> None:
    load = SyntheticLoad(3000, 11, 1)
    before = {m.id: m.sha256 for m in messages(SyntheticLoad(3000, 11), "masters")}

    for later in range(1, 8):
        load = SyntheticLoad(3000, 11, later)
        after = {m.id: m.sha256 for m in messages(load, "masters")}
        assert any(before[i] != after[i] for i in before.keys() & after.keys())
        before = after


def test_the_date_of_a_load_follows_its_month() -> None:
    assert SyntheticLoad(1, 1).date == "20000101"
    assert SyntheticLoad(1, 1, month=14).date == "20010301"
    assert SyntheticLoad(1, 1, month=14, date="20300101").date == "20300101"


def test_later_months_have_more_indices_than_records() -> None:
    assert len(indices(SyntheticLoad(20_000, 1, 10), "artists")) == 5900 + 295


def made(load: SyntheticLoad, kind: str, index: int) -> Record:
    record = synthetic_record(load, kind, index)
    assert record is not None
    return record


def percentile(ordered: list[int], share: float) -> int:
    return ordered[int(share * len(ordered))]
