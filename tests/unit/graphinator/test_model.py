"""The model's tables, and the statements generated from them."""

import hashlib
import re

import pytest

from common.kinds import KINDS
from graphinator.model import EDGES, MODEL_VERSION, NODES, edges_of, node_of, targets_of
from graphinator.ops.reader import page_statement
from graphinator.parameters import Ends, forced, identities, rows
from graphinator.projection import GraphRecord
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


def test_a_changed_record_loses_the_types_and_directions_it_owns() -> None:
    assert _deleted("artists") == ["(n)-[e:ALIAS_OF|MEMBER_OF]->()"]
    assert _deleted("releases") == ["(n)-[e:BY|DERIVED_FROM|IS|ON]->()", "(n)<-[e:CREDITED_ON]-()"]


def _deleted(kind: str) -> list[str]:
    return re.findall(r"MATCH (\S+) DELETE", statements_of(kind).store)


@pytest.mark.parametrize("kind", KINDS)
def test_the_statements_name_every_target_property_and_edge(kind: str) -> None:
    store = statements_of(kind).store

    for node, _ in targets_of(kind):
        assert f"UNWIND $batch.{node.label} AS x" in store
    for each in node_of(kind).properties:
        assert f"{each.name}: row[" in store
        assert f"n.{each.name}" in page_statement(kind)
    for edge in edges_of(kind):
        assert f"[:{edge.type}" in store
        assert f"[e:{edge.type}]" in page_statement(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_statements_are_given_what_they_ask_for(kind: str) -> None:
    record = GraphRecord("1", "h", None, [], [[["t", "k"] if edge.key else "t"] for edge in edges_of(kind)])
    given = identities([record]) | rows([record]) | Ends(kind).of([record]) | {"notes": []}

    assert set(re.findall(r"\$batch\.(\w+)", statements_of(kind).store)) == given.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_plans_a_statement_once_however_large_its_batches_and_the_graph(kind: str) -> None:
    # For each list among the parameters it would have a plan per order of magnitude.
    for statement in (statements_of(kind).look_up, statements_of(kind).store):
        assert statement.startswith("CYPHER 5 replan=skip\n")
        assert set(re.findall(r"\$(\w+)", statement)) == {"batch"}


def test_a_row_has_the_columns_that_the_statement_sets() -> None:
    release = GraphRecord("1", "h", "v", ["t", 1999, "1999", "US"], [[], [], [], [], [], []])

    assert rows([release]) == {"rows": [["1", "h", "v", "t", 1999, "1999", "US"]]}
    assert "{id: row[0], hash: row[1], load: row[2], title: row[3], " in statements_of("releases").store


def test_edges_are_positions_in_the_records_and_in_their_targets_each_once_and_sorted() -> None:
    one = GraphRecord("2", "h", None, [], [["9", "1"], [["5", "r"]], [], ["Rock"], [], [["7", "a"], ["7", "b"]]])
    two = GraphRecord("1", "h", None, [], [["1"], [["5", "s"]], ["4"], ["Pop"], [], []])

    assert Ends("releases").of([one, two]) == {
        "Artist": ["1", "5", "9"],
        "Genre": ["Pop", "Rock"],
        "Label": ["7"],
        "Master": ["4"],
        "Style": [],
        **{"from0": [0, 0, 1], "to0": [2, 0, 0]},
        **{"from1": [0, 1], "to1": [1, 1], "by1": ["r", "s"]},
        **{"from2": [1], "to2": [0]},
        **{"from3": [0, 1], "to3": [1, 0]},
        **{"from4": [], "to4": []},
        **{"from5": [0, 0], "to5": [0, 0], "by5": ["a", "b"]},
    }


def test_a_kind_that_refers_to_itself_has_own_ids_among_its_targets() -> None:
    artists = [GraphRecord("2", "h", None, [], [["3"], ["1"]]), GraphRecord("10", "h", None, [], [[], []])]

    assert Ends("artists").of(artists)["Artist"] == ["1", "10", "2", "3"]


def test_identities_are_lists_of_equal_length() -> None:
    records = [GraphRecord("1", "h", None, [], []), GraphRecord("2", "", "20250101", [], [])]

    assert identities(records) == {"ids": ["1", "2"], "hashes": ["h", ""], "loads": [None, "20250101"]}


def test_what_is_forced_is_neither_unchanged_nor_stale() -> None:
    assert forced([GraphRecord("1", "h", "20250101", [], [])]) == {"ids": ["1"], "hashes": [""], "loads": [None]}
