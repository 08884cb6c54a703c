"""What refining is made of: definitions, generated statements, the horizon, plans, and the page of columns."""

import argparse
import re
from typing import Any

import pytest

from common.errors import StartRefused
from common.kinds import KINDS
from spindle.refinement import reference
from spindle.refinement.command import register
from spindle.refinement.report import USUAL, plan_of
from tableinator.ops.refinement.definitions import FINDINGS, LINKS, TABLES, indexes, table_of
from tableinator.ops.refinement.indexes import creation
from tableinator.ops.refinement.refining import usable_horizon
from tableinator.ops.refinement.statements import Statements, check_schema
from tableinator.ops.refinement.surveying import Survey

NOW = {"horizon": str(5 * 2**32 + 100), "origin": "here"}


def test_the_page_of_columns_is_up_to_date() -> None:
    assert reference.PAGE.read_text() == reference.page()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.name))
def test_a_table_s_key_is_among_its_columns_and_no_column_comes_twice(table: Any) -> None:
    names = [column.name for column in table.columns]

    assert {table.parent, *table.key} <= set(names)
    assert len(set(names)) == len(names)


def test_links_indexes_and_findings_are_about_columns_that_there_are() -> None:
    for link in LINKS:
        assert link.column in {column.name for column in table_of(link.table).columns}
        assert table_of(link.target).is_record
    for index in indexes():
        named = re.findall(r"\w+", index.columns)
        assert set(named) <= {column.name for column in table_of(index.table).columns}
    assert {finding.kind for finding in FINDINGS} <= set(KINDS)


@pytest.mark.parametrize("name", ["discogs", "a_1", "_x"])
def test_a_schema_s_name_needs_no_quotes(name: str) -> None:
    assert check_schema(name) == name


@pytest.mark.parametrize("name", ["", "Discogs", "1a", "a-b", 'a"; DROP TABLE artists; --', "a" * 64])
def test_any_other_schema_is_refused(name: str) -> None:
    with pytest.raises(StartRefused, match="--schema"):
        Statements(name, "artists")


def test_nothing_but_a_kind_becomes_part_of_a_statement() -> None:
    with pytest.raises(ValueError, match="is not a kind"):
        Statements("discogs", "artists; DROP TABLE artists")


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (None, None),
        ({"horizon": str(5 * 2**32 + 40), "origin": "here"}, 40),
        ({"horizon": str(5 * 2**32 + 40), "origin": "elsewhere"}, None),
        ({"horizon": str(5 * 2**32 + 101), "origin": "here"}, None),
        ({"horizon": str(4 * 2**32), "origin": "here"}, None),
    ],
    ids=["no mark", "a while ago", "another database", "counts anew", "too long ago"],
)
def test_a_horizon_is_used_only_if_it_can_be_compared(mark: Any, expected: int | None) -> None:
    assert usable_horizon(mark, NOW) == expected


def test_a_plan_uses_the_kind_s_own_figures_once_there_are_any() -> None:
    def plan(refined: int) -> Any:
        rows, size = refined * 10, refined * 100
        return plan_of(
            Survey(kind="labels", new=100, changed=50, gone=1, refined=refined, rows=rows, bytes=size, pace=None)
        )

    usual, own = plan(0), plan(2000)

    assert (usual.rows, usual.bytes) == (round(150 * USUAL["labels"].rows), 100 * USUAL["labels"].bytes)
    assert (own.rows, own.bytes, own.records) == (1500, 10_000, 151)


def test_without_trigrams_titles_are_searched_by_words() -> None:
    [index] = [index for index in indexes() if index.name == "release_idx_title"]

    assert "public.gin_trgm_ops" in creation("discogs", index, "public")
    assert "to_tsvector('simple', title)" in creation("discogs", index, None)


@pytest.mark.parametrize("wrong", [["--workers", "0"], ["--range", "many"], ["--table", "releases"]])
def test_wrong_arguments_end_with_exit_code_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())

    with pytest.raises(SystemExit) as end:
        parser.parse_args(["refine", *wrong])

    assert end.value.code == 2
    assert wrong[0] in capsys.readouterr().err
