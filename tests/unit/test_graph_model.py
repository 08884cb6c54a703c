"""The model's tables, and the statements generated from them."""

import hashlib

import pytest

from common.kinds import KINDS
from graphinator.model import EDGES, MODEL_VERSION, NODES, edges_of, node_of, targets_of
from graphinator.parameters import Targets, identities, row_of
from graphinator.projection import GraphRecord
from graphinator.reading import page_statement
from graphinator.statements import statements_of

# Changed the tables? Then raise MODEL_VERSION, or what is stored will never be rewritten; and put the new digest here.
DIGESTS = {1: "beae77fea7f10695"}


def test_another_model_has_another_version() -> None:
    assert hashlib.sha256(repr((NODES, EDGES)).encode()).hexdigest()[:16] == DIGESTS[MODEL_VERSION]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_node_and_edges(kind: str) -> None:
    assert node_of(kind).kind == kind
    assert edges_of(kind)


def test_nodes_are_locked_in_the_order_of_their_labels() -> None:
    labels = [node.label for node in NODES]

    assert labels == sorted(labels)


def test_no_edge_has_two_owners() -> None:
    drawn = [
        (edge.owner, edge.type, edge.target) if edge.outgoing else (edge.target, edge.type, edge.owner)
        for edge in EDGES
    ]

    assert len(set(drawn)) == len(EDGES)


def test_a_record_is_deleted_with_the_types_and_directions_it_owns() -> None:
    assert statements_of("artists").delete.splitlines()[1:] == [
        "CALL (n) { MATCH (n)-[e:ALIAS_OF|MEMBER_OF]->() DELETE e }"
    ]
    assert statements_of("releases").delete.splitlines()[1:] == [
        "CALL (n) { MATCH (n)-[e:BY|DERIVED_FROM|IS|ON]->() DELETE e }",
        "CALL (n) { MATCH (n)<-[e:CREDITED_ON]-() DELETE e }",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_statements_name_every_target_property_and_edge(kind: str) -> None:
    statements = statements_of(kind)

    for node, _ in targets_of(kind):
        assert f"UNWIND ${node.label} AS x" in statements.lock
    for each in node_of(kind).properties:
        assert f"{each.name}: row[" in statements.write
        assert f"n.{each.name}" in page_statement(kind)
    for edge in edges_of(kind):
        assert f"[:{edge.type}" in statements.write
        assert f"[e:{edge.type}]" in page_statement(kind)


def test_a_row_has_the_columns_that_the_write_statement_reads() -> None:
    release = GraphRecord("1", "h", "v", ["t", 1999, "1999", "US"], [["a"], [["b", "r"]], [], ["g"], [], [["l", "c"]]])

    assert row_of(release) == ["1", "h", "v", "t", 1999, "1999", "US", ["a"], [["b", "r"]], [], ["g"], [], [["l", "c"]]]
    assert "UNWIND row[12] AS x MATCH (t:Label {id: x[0]})" in statements_of("releases").write


def test_targets_of_a_batch_are_each_once_and_sorted() -> None:
    one = GraphRecord("2", "h", None, [], [["9", "1"], [["5", "r"]], [], ["Rock"], [], [["7", "a"], ["7", "b"]]])
    two = GraphRecord("1", "h", None, [], [["1"], [["5", "s"]], ["4"], ["Pop"], [], []])

    assert Targets("releases").of([one, two]) == {
        "Artist": ["1", "5", "9"],
        "Genre": ["Pop", "Rock"],
        "Label": ["7"],
        "Master": ["4"],
        "Style": [],
    }


def test_a_kind_that_refers_to_itself_has_own_ids_among_its_targets() -> None:
    artists = [GraphRecord("2", "h", None, [], [["3"], ["1"]]), GraphRecord("10", "h", None, [], [[], []])]

    assert Targets("artists").of(artists) == {"Artist": ["1", "10", "2", "3"]}


def test_identities_are_lists_of_equal_length() -> None:
    records = [GraphRecord("1", "h", None, [], []), GraphRecord("2", "", "20250101", [], [])]

    assert identities(records) == {"ids": ["1", "2"], "hashes": ["h", ""], "loads": [None, "20250101"]}
