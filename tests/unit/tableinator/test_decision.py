"""What tableinator decides without a server: about records, about doubtful commits, about tables."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.delivery import Delivery, Epoch, Properties
from common.envelope import Envelope
from common.kinds import KINDS
from common.outcomes import Outcome
from common.progress import count
from tableinator.decision import StoredState, by_id, decide
from tableinator.model import Row, row_of
from tableinator.statements import Statements
from tableinator.tables import COLUMNS, PRIVILEGES, FoundColumn, FoundTable, creation, differences

OLDER, VERSION, NEWER = "20250101", "20250201", "20250301"


def delivery(*, load: str | None = None) -> Delivery:
    return Delivery(
        tag=1,
        epoch=Epoch(1),
        body=b'{"id": "7"}',
        received=0.0,
        load=load,
        published_ms=None,
        delivery_count=0,
        read_properties=Properties,
    )


def row(record_id: str = "1", *, sha: str = "a", version: str | None = VERSION) -> Row:
    return Row(record_id, sha, version, b"{}")


# The projection.


def test_the_body_goes_in_as_it_came() -> None:
    """Fault 16."""
    projected = row_of(Envelope("data", "7", "abc"), delivery(load=VERSION), "7")

    assert projected == Row("7", "abc", VERSION, b'{"id": "7"}')


@pytest.mark.parametrize("sha256", [None, "", 7, ["a"], {"a": 1}, True])
def test_what_is_no_hash_is_an_empty_one(sha256: Any) -> None:
    assert row_of(Envelope("data", "7", sha256), delivery(), "7").hash == ""


@pytest.mark.parametrize("load", [None, ""])
def test_without_a_load_there_is_no_version(load: str | None) -> None:
    assert row_of(Envelope("data", "7", "abc"), delivery(load=load), "7").version is None


# The decision.


@pytest.mark.parametrize(
    ("stored", "incoming", "outcome"),
    [
        (None, row(), Outcome.NEW),
        (None, row(sha=""), Outcome.NEW),
        (StoredState("a", VERSION), row(), Outcome.UNCHANGED),
        (StoredState("a", NEWER), row(), Outcome.UNCHANGED),
        (StoredState("a", None), row(), Outcome.UNCHANGED),
        (StoredState("b", OLDER), row(), Outcome.CHANGED),
        (StoredState("b", VERSION), row(), Outcome.CHANGED),
        (StoredState("b", NEWER), row(), Outcome.STALE),
        (StoredState("b", None), row(), Outcome.CHANGED),
        (StoredState("b", "20269999"), row(), Outcome.CHANGED),
        (StoredState("b", NEWER), row(version=None), Outcome.CHANGED),
        (StoredState("", VERSION), row(sha=""), Outcome.CHANGED),
        (StoredState("", NEWER), row(sha=""), Outcome.STALE),
        (StoredState("", VERSION), row(), Outcome.CHANGED),
    ],
)
def test_a_record_is_decided_by_hash_then_version(stored: StoredState | None, incoming: Row, outcome: Outcome) -> None:
    assert decide(incoming, stored) is outcome


@given(st.lists(st.sampled_from([Outcome.NEW, Outcome.CHANGED, Outcome.UNCHANGED, Outcome.STALE])))
def test_the_counts_sum_to_the_batch(outcomes: list[Outcome]) -> None:
    assert count(outcomes).total == len(outcomes)


@given(st.lists(st.text(), unique=True))
def test_rows_are_ordered_by_id_and_none_is_lost(ids: list[str]) -> None:
    rows = [row(each) for each in ids]

    assert [rows[position].id for position in by_id(rows, range(len(rows)))] == sorted(ids)


# Statements and tables.


@pytest.mark.parametrize("name", ["", "artists; DROP TABLE artists", "Artists", "users"])
def test_only_a_kind_becomes_part_of_a_statement(name: str) -> None:
    with pytest.raises(ValueError, match="not a kind"):
        Statements.of(name)
    with pytest.raises(ValueError, match="not a kind"):
        creation(name, lz4=True)


@pytest.mark.parametrize("kind", KINDS)
def test_every_statement_of_a_kind_names_its_table(kind: str) -> None:
    statements = Statements.of(kind)

    for name in ("look_up", "upsert", "overwrite", "rewrite", "read", "count"):
        text = getattr(statements, name)
        assert f" {kind}" in text
        assert "{" not in text


def found(**columns: FoundColumn | None) -> FoundTable:
    """A table as we make it, but for these columns; None takes one away."""
    ours: dict[str, FoundColumn | None] = {
        column.name: FoundColumn(column.types[0], column.required, column.name == "updated_at") for column in COLUMNS
    }
    kept = {name: column for name, column in (ours | columns).items() if column is not None}
    return FoundTable(ordinary=True, unique_id=True, privileges=frozenset(PRIVILEGES), columns=kept)


def test_a_table_as_we_make_it_is_usable() -> None:
    assert differences("artists", found()) == []


@pytest.mark.parametrize(
    "columns",
    [
        {"hash": FoundColumn("character varying", True, False)},
        {"data": FoundColumn("jsonb", False, False)},
        {"updated_at": FoundColumn("timestamp with time zone", False, False)},
        {"theirs": FoundColumn("integer", False, False)},
        {"theirs": FoundColumn("integer", True, True)},
    ],
)
def test_harmless_differences_are_none(columns: dict[str, FoundColumn]) -> None:
    assert differences("artists", found(**columns)) == []


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"data": FoundColumn("json", True, False)}, "column data is of type json, not jsonb"),
        ({"hash": FoundColumn("character varying(64)", True, False)}, "column hash is of type character varying(64)"),
        ({"version": None}, "column version is missing; ALTER TABLE artists ADD COLUMN version text"),
        ({"updated_at": None}, "ADD COLUMN updated_at timestamp with time zone not null default now()"),
        ({"hash": FoundColumn("text", False, False)}, "ALTER TABLE artists ALTER hash SET NOT NULL"),
        ({"version": FoundColumn("text", True, False)}, "ALTER TABLE artists ALTER version DROP NOT NULL"),
        (
            {"updated_at": FoundColumn("timestamp with time zone", True, False)},
            "ALTER TABLE artists ALTER updated_at SET DEFAULT now()",
        ),
        ({"theirs": FoundColumn("integer", True, False)}, "column theirs is unknown, takes no null"),
    ],
)
def test_a_difference_is_named_with_what_mends_it(columns: dict[str, FoundColumn | None], sentence: str) -> None:
    (problem,) = differences("artists", found(**columns))

    assert sentence in problem


def test_a_view_is_not_a_table() -> None:
    view = FoundTable(ordinary=False, unique_id=False, privileges=frozenset(), columns={})

    assert differences("artists", view) == ["artists is not an ordinary table"]


def test_an_id_that_is_not_unique_and_a_missing_privilege_are_named() -> None:
    table = FoundTable(ordinary=True, unique_id=False, privileges=frozenset({"SELECT"}), columns=found().columns)

    key, privileges = differences("artists", table)

    assert "ALTER TABLE artists ADD PRIMARY KEY (data_id)" in key
    assert "GRANT INSERT, UPDATE ON artists" in privileges
