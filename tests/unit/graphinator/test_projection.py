"""From bodies as producers write them to what the graph takes."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.kinds import KINDS
from graphinator.fields import read_year
from graphinator.model import edges_of, node_of
from graphinator.projection import stored_hash
from tests.integration.graphs import project

EXAMPLE = """{"type":"data","id":"2","sha256":"49255cd5","aliases":[{"id":"2470","name":"Puente Latino"},{"id":"19536",
"name":"Yakari & Delano"}],"data_quality":"Correct","id":"2","members":[{"id":"26","name":"Alexi Delano"}],
"name":"Mr. James Barth & A.D.","namevariations":{"name":["MR JAMES BARTH & A. D.","Mr Barth & A.D."]},"profile":null,
"realname":"Cari Lekebusch & Alexi Delano"}"""


def properties(kind: str, **fields: Any) -> dict[str, Any]:
    record = project(kind, json.dumps(fields).encode())
    return dict(zip([each.name for each in node_of(kind).properties], record.properties, strict=True))


def targets(kind: str, **fields: Any) -> dict[str, list[Any]]:
    record = project(kind, json.dumps(fields).encode())
    return {edge.field: found for edge, found in zip(edges_of(kind), record.edges, strict=True)}


# Every kind, as the wire format has it


def test_an_artist_of_the_wire_format() -> None:
    record = project("artists", EXAMPLE.encode(), "2")

    assert record.id == "2"
    assert record.properties == ["Mr. James Barth & A.D.", "Cari Lekebusch & Alexi Delano"]
    assert record.edges == [["19536", "2470"], []]


def test_a_label_points_to_its_parent_and_not_to_its_sublabels() -> None:
    found = targets("labels", parentLabel={"id": "5", "name": "P"}, sublabels=[{"id": "6", "name": "S"}])

    assert found == {"parentLabel": ["5"]}


def test_a_master_has_a_title_a_year_artists_genres_and_styles() -> None:
    fields: dict[str, Any] = {"title": "T", "year": "1999", "artists": [{"id": "1"}], "genres": ["G"], "styles": ["S"]}

    assert properties("masters", **fields) == {"title": "T", "year": 1999}
    assert targets("masters", **fields) == {"artists": ["1"], "genres": ["G"], "styles": ["S"]}


def test_a_release_has_all_its_edges() -> None:
    found = targets(
        "releases",
        master_id="77",
        artists=[{"id": "1", "name": "A", "join": ","}],
        labels=[{"id": "5", "name": "L", "catno": "C1"}],
        extraartists=[{"id": "2", "name": "B", "role": "Written-By, Producer", "tracks": "1"}],
        genres=["Rock"],
        styles=["Indie Rock"],
    )

    assert found == {
        "artists": ["1"],
        "extraartists": [["2", "Written-By, Producer"]],
        "master_id": ["77"],
        "genres": ["Rock"],
        "styles": ["Indie Rock"],
        "labels": [["5", "C1"]],
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_of_which_nothing_is_known_has_no_edges(kind: str) -> None:
    record = project(kind, b'{"type":"data","id":"1","sha256":"x","a field that nobody knows":[{"x":[1.5,true]}]}')

    assert set(map(str, record.properties)) == {"None"}
    assert record.edges == [[] for _ in edges_of(kind)]


# Identity and hash


def test_the_id_is_the_runtimes() -> None:
    assert project("artists", b'{"id": 7}', "7").id == "7"


def test_the_load_is_the_version() -> None:
    assert project("artists", b"{}", load="20260301").version == "20260301"


def test_another_model_makes_another_hash() -> None:
    """Fault 57."""
    assert stored_hash("abc", model_version=1) != stored_hash("abc", model_version=2)


@pytest.mark.parametrize("sha256", ["", None, 5, ["x"]])
def test_without_a_usable_hash_none_is_stored(sha256: Any) -> None:
    assert project("artists", b"{}", sha256=sha256).hash == ""


# Edges are each there once


def test_one_artist_twice_is_one_edge() -> None:
    assert targets("releases", artists=[{"id": "1"}, {"id": "2"}, {"id": "1", "anv": "other"}])["artists"] == ["1", "2"]


def test_one_label_with_two_catalogue_numbers_is_two_edges() -> None:
    labels = [{"id": "5", "catno": "C2"}, {"id": "5", "catno": "C1"}, {"id": "5", "catno": "C1", "name": "again"}]

    assert targets("releases", labels=labels)["labels"] == [["5", "C1"], ["5", "C2"]]


def test_one_artist_with_two_roles_is_two_edges() -> None:
    credited = [{"id": "5", "role": "Mixed By"}, {"id": "5", "role": "Producer"}, {"id": "5", "role": "Producer"}]

    assert targets("releases", extraartists=credited)["extraartists"] == [["5", "Mixed By"], ["5", "Producer"]]


def test_a_missing_key_of_an_edge_is_empty() -> None:
    assert targets("releases", labels=[{"id": "5"}, {"id": "5", "catno": None}])["labels"] == [["5", ""]]


def test_genres_and_styles_are_each_once_and_not_paired() -> None:
    """Fault 55."""
    found = targets("releases", genres=["Rock", "Pop", "Rock"], styles=["Ska"])

    assert (found["genres"], found["styles"]) == (["Pop", "Rock"], ["Ska"])


def test_an_artist_that_is_its_own_alias_keeps_that_edge() -> None:
    assert targets("artists", aliases=[{"id": "1", "name": "itself"}])["aliases"] == ["1"]


# References as they come (faults 59 and 60)


@pytest.mark.parametrize("nobody", ["0", 0, "", " ", None, "null", "None", "unknown"])
def test_a_reference_to_nobody_makes_no_edge(nobody: Any) -> None:
    assert targets("releases", master_id=nobody)["master_id"] == []
    assert targets("releases", artists=[{"id": nobody, "name": "somebody"}])["artists"] == []
    assert targets("releases", extraartists=[{"id": nobody, "role": "Producer"}])["extraartists"] == []
    assert targets("labels", parentLabel={"id": nobody, "name": "somebody"})["parentLabel"] == []


@pytest.mark.parametrize(
    "references", ["a name", ["a name", "12"], [None], [12], [{"name": "no id"}], [{}], [], None, 5]
)
def test_references_without_an_id_crash_nothing_and_make_no_edge(references: Any) -> None:
    """Fault 59."""
    assert targets("releases", artists=references, labels=references, extraartists=references) == {
        field: [] for field in ("artists", "extraartists", "master_id", "genres", "styles", "labels")
    }
    assert targets("artists", aliases=references, groups=references) == {"aliases": [], "groups": []}


def test_a_list_of_one_may_come_as_its_bare_element() -> None:
    found = targets("releases", artists={"id": "1", "name": "A"}, genres="Rock", labels={"id": "5", "catno": "C"})

    assert (found["artists"], found["genres"], found["labels"]) == (["1"], ["Rock"], [["5", "C"]])


def test_numeric_ids_are_their_digits() -> None:
    assert targets("releases", master_id=77, artists=[{"id": 1}])["master_id"] == ["77"]
    assert targets("releases", artists=[{"id": 1}, {"id": "1"}])["artists"] == ["1"]


def test_a_name_that_looks_like_nobody_is_a_name_all_the_same() -> None:
    assert targets("releases", genres=["unknown", "", " ", None, "0"])["genres"] == ["0", "unknown"]


@pytest.mark.parametrize(
    "fields",
    [
        {"artists": {"artist": [{"id": "1"}]}},
        {"artists": [["1"]]},
        {"artists": [{"id": {"x": 1}}]},
        {"artists": [{"id": 1.5}]},
        {"genres": {"genre": ["Rock"]}},
        {"genres": [{"name": "Rock"}]},
        {"master_id": {"#text": "5"}},
        {"master_id": True},
        {"title": ["T"]},
        {"title": {"text": "T"}},
    ],
)
def test_what_is_of_another_type_is_not_guessed_at(fields: dict[str, Any]) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError)):
        targets("releases", **fields)


# Scalars


def test_texts_stay_as_they_are() -> None:
    text = " \r\n\tẞ 🎵 \x85\u202e e\u0301 "

    assert properties("releases", title=text)["title"] == text


@pytest.mark.parametrize(
    ("released", "year"),
    [
        ("1999", 1999),
        ("1999-03-00", 1999),
        ("1999-00-00", 1999),
        ("1999-03-15", 1999),
        (1999, 1999),
        ("0000", None),
        ("0", None),
        ("", None),
        (None, None),
        ("19??", None),
        ("199", None),
        ("19991", None),
        ("March 1999", None),
        ("1859", None),
        ("1860", 1860),
        ("9999", None),
        ("١٩٩٩", None),
    ],
)
def test_a_year_is_read_where_there_is_one(released: Any, year: int | None) -> None:
    """Fault 60."""
    assert properties("releases", released=released)["year"] == year


@given(st.integers(0, 9999), st.integers(1900, 2200))
def test_a_year_lies_within_its_limits_or_is_none(year: int, latest: int) -> None:
    expected = year if 1860 <= year <= latest else None

    assert read_year(f"{year:04}-00-00", latest=latest) == expected


# Anything

_SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=3)
_ANYTHING = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "name", "catno"]), inner),
)


@given(st.sampled_from(KINDS), st.data())
def test_whatever_comes_is_projected_into_usable_targets_or_refused(kind: str, data: st.DataObject) -> None:
    """Fault 59."""
    fields = {edge.field: data.draw(_ANYTHING) for edge in edges_of(kind)}
    body = json.dumps(fields).encode()

    try:
        record = project(kind, body)
    except (msgspec.ValidationError, ValueError):
        return

    for found in record.edges:
        assert found == sorted(found)
        assert len({str(each) for each in found}) == len(found)
        for each in found:
            target = each[0] if isinstance(each, list) else each
            assert isinstance(target, str)
            assert target.strip()
