"""The bench's peers before they run: where Bento comes from, what is read of a message, what the graph arms expect."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.graph_cypher import edge_statement, load_csv_statement, write_csv
from bench.graph_records import EDGES, Carried, without_credits
from bench.peers import bento_program
from bench.peers.per_message import row_of
from bench.peers.table_arms import without_tls
from bench.records import load_of, releases
from common.errors import StartRefused
from extractor.message import to_message

LOAD = load_of(60, seed=3)
MESSAGES = releases(LOAD, 60)
SMALL = {
    "id": "7",
    "title": "A",
    "artists": [{"id": "1", "name": "x"}, {"id": "1", "name": "x"}],
    "extraartists": [{"id": "2", "name": "y", "role": "Mixed By"}],
    "labels": [{"id": "3", "name": "l", "catno": "C 1"}, {"id": "3", "name": "l", "catno": "C 2"}],
    "master_id": "0",
}


@pytest.fixture
def no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine without Go, and with an empty cache; gives a folder of PATH."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bento_program, "_INSTALLED", tmp_path / "nowhere")
    bento_program.reason_against.cache_clear()
    yield tmp_path
    bento_program.reason_against.cache_clear()


def test_bento_is_kept_in_the_cache_folder_that_the_environment_names(no_go: Path) -> None:
    assert bento_program.program().parent == no_go / "cache" / "spindle"


def test_other_sources_make_another_bento(no_go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = no_go / "sources"
    sources.mkdir()
    for name in ("go.mod", "go.sum", "main.go"):
        (sources / name).write_bytes((bento_program.SOURCE / name).read_bytes())
    before = bento_program.program()

    monkeypatch.setattr(bento_program, "SOURCE", sources)
    same = bento_program.program()
    (sources / "main.go").write_text("package main")

    assert same == before
    assert bento_program.program() != before


def test_without_go_bento_is_left_out_with_a_reason(no_go: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not bento_program.is_here()

    assert capsys.readouterr().err == "no Bento among the arms: there is no Go toolchain\n"


def test_an_old_go_is_not_asked_to_build(no_go: Path) -> None:
    go = no_go / "go"
    go.write_text("#!/bin/sh\necho go version go1.22.3 linux/amd64\n")
    go.chmod(0o755)

    with pytest.raises(StartRefused, match=r"Go 1\.22 is older than 1\.26"):
        bento_program.build(print)


def test_the_pinned_bento_is_the_one_that_is_named() -> None:
    assert (
        f"github.com/warpstreamlabs/bento v{bento_program.VERSION}\n" in (bento_program.SOURCE / "go.mod").read_text()
    )


def test_the_per_message_consumer_stores_the_whole_message() -> None:
    message = MESSAGES[0]

    record_id, sha256, document = row_of(message.body)

    assert (record_id, sha256) == (message.id, message.sha256)
    assert json.loads(document) == json.loads(message.body)


def test_the_peers_speak_to_postgresql_without_tls() -> None:
    given = "postgresql://u:p@h:1/d?application_name=x&sslmode=require"

    assert without_tls(given) == "postgresql://u:p@h:1/d?application_name=x&sslmode=disable"


def test_what_the_graph_must_hold_is_counted_by_node_and_edge() -> None:
    carried = Carried([to_message("releases", SMALL)])

    assert carried.node_counts == {"Release": 1, "Artist": 2, "Label": 1}
    assert carried.edge_counts == {
        ("Release", "BY", "Artist"): 1,
        ("Release", "ON", "Label"): 2,
        ("Artist", "CREDITED_ON", "Release"): 1,
    }


def test_without_credits_all_other_edges_are_the_same() -> None:
    every, few = Carried(MESSAGES), Carried(without_credits(MESSAGES))

    assert every.edge_counts[("Artist", "CREDITED_ON", "Release")] > 0
    assert few.edge_counts == {name: n for name, n in every.edge_counts.items() if name[1] != "CREDITED_ON"}
    assert [message.id for message in few.messages] == [message.id for message in MESSAGES]


def test_every_sort_of_edge_has_its_statement() -> None:
    statements = [edge_statement(edge) for edge in EDGES]

    assert "MERGE (t:Label {id: row.end}) MERGE (n)-[:ON {catno: row.by}]->(t)" in statements[1]
    assert "MERGE (t:Style {name: row.end}) MERGE (n)-[:IS]->(t)" in statements[4]
    assert "MERGE (t:Artist {id: row.end}) MERGE (t)-[:CREDITED_ON {role: row.by}]->(n)" in statements[5]


def test_the_csv_of_the_graph_leaves_a_backslash_to_the_reader(tmp_path: Path) -> None:
    file = tmp_path / "releases.csv"

    write_csv(file, Carried([to_message("releases", SMALL | {"title": 'a \\ and "b"'})]), load="20000101")

    head, line, _ = file.read_text().split("\n")
    assert head.startswith("id,hash,load,title,year,released,country,by_artist,on_label,")
    assert ',20000101,"a \\\\ and ""b""",,,,1\x1f,3\x1fC 1\x1e3\x1fC 2,,,,2\x1fMixed By' in line
    assert f"'file://{file}'" in load_csv_statement(file)
