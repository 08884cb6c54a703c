"""What verification expects of the graph, against records whose edges were counted by hand."""

import pytest

from common.kinds import KINDS
from extractor.loads import records
from extractor.synthetic.synthetic import SyntheticLoad
from spindle.verification.expected_graph import OWNED, EdgeName, Far, Record, expected_node


def edges(kind: str, record: Record) -> dict[EdgeName, list[Far]]:
    found = dict(zip(OWNED[kind], expected_node(kind, record).edges, strict=True))
    return {name: ends for name, ends in found.items() if ends}


def test_a_release_owns_one_edge_per_other_end_and_per_catalogue_number_or_role() -> None:
    record: Record = {
        "id": "1",
        "artists": [{"id": "5", "name": "A"}, {"id": "5", "name": "A again"}],
        "labels": [{"id": "7", "catno": "C1"}, {"id": "7", "catno": "C2"}, {"id": "7", "catno": "C1"}, {"id": "8"}],
        "extraartists": [{"id": "5", "role": "Bass"}, {"id": "5", "role": "Drums"}, {"id": "5", "role": "Bass"}],
        "master_id": "3",
        "genres": ["Rock", "Rock"],
        "styles": ["Oi"],
    }

    found = edges("releases", record)

    assert found == {
        ("Release", "BY", "Artist"): [("5", "")],
        ("Release", "ON", "Label"): [("7", "C1"), ("7", "C2"), ("8", "")],
        ("Artist", "CREDITED_ON", "Release"): [("5", "Bass"), ("5", "Drums")],
        ("Release", "DERIVED_FROM", "Master"): [("3", "")],
        ("Release", "IS", "Genre"): [("Rock", "")],
        ("Release", "IS", "Style"): [("Oi", "")],
    }


@pytest.mark.parametrize("nobody", ["0", "", " ", None])
def test_nobody_is_at_the_end_of_an_edge(nobody: str | None) -> None:
    record: Record = {
        "id": "1",
        "master_id": nobody,
        "artists": [{"id": nobody, "name": "A"}, {"name": "B"}],
        "extraartists": [{"id": nobody, "role": "Bass"}],
        "labels": [{"id": nobody, "catno": "C1"}],
    }

    assert edges("releases", record) == {}


def test_the_mirrored_fields_make_no_edges() -> None:
    artist = edges("artists", {"id": "1", "members": [{"id": "2"}], "groups": [{"id": "3"}], "aliases": [{"id": "4"}]})
    label = edges("labels", {"id": "1", "sublabels": [{"id": "2"}], "parentLabel": {"id": "3", "name": "P"}})

    assert artist == {("Artist", "MEMBER_OF", "Artist"): [("3", "")], ("Artist", "ALIAS_OF", "Artist"): [("4", "")]}
    assert label == {("Label", "SUBLABEL_OF", "Label"): [("3", "")]}


@pytest.mark.parametrize(
    ("released", "year"),
    [("1999", 1999), ("1999-03-00", 1999), ("0000", None), ("", None), ("199", None), ("20000101", None), (None, None)],
)
def test_a_release_has_its_year_and_its_date(released: str | None, year: int | None) -> None:
    properties = expected_node("releases", {"id": "1", "title": "T", "released": released}).properties

    assert (properties.get("year"), properties.get("released")) == (year, released)


def test_every_synthetic_record_has_an_expected_node() -> None:
    load = SyntheticLoad(2_000, seed=5)

    counts = {
        name: sum(len(edges(kind, record).get(name, [])) for record in records(load, kind))
        for kind in KINDS
        for name in OWNED[kind]
    }

    assert all(counts.values())
