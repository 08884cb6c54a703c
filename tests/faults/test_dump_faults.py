"""Dumps that mean harm: entities that grow, that name files, that name hosts. Nothing is expanded, read or fetched."""

import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from extractor.loads import messages, open_files
from extractor.reading import BrokenRecord, SkipReason, read_record
from extractor.tally import Tally

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 11))
GOOD = "<artist><id>1</id><name>A name</name></artist>"
MEMORY = 64 * 2**20
"""A billion laughs would be gigabytes."""


@pytest.fixture
def listener() -> Iterator[tuple[int, list[object]]]:
    """A port of this machine, and who has connected to it."""
    callers: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_accept, args=(server, callers), daemon=True)
        thread.start()
        yield server.getsockname()[1], callers
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5.0)


def _accept(server: socket.socket, callers: list[object]) -> None:
    while True:
        try:
            connection, address = server.accept()
        except OSError:
            return
        connection.close()
        callers.append(address)


def test_entities_are_neither_expanded_nor_fetched_and_cost_their_own_record_alone(
    tmp_path: Path, listener: tuple[int, list[object]]
) -> None:
    """Fault 64."""
    port, callers = listener
    secret = tmp_path / "secret"
    secret.write_text("planted")
    doctype = (
        f'<!DOCTYPE artists SYSTEM "http://127.0.0.1:{port}/a.dtd" [<!ENTITY l0 "ha">{LAUGHS}'
        f'<!ENTITY file SYSTEM "file://{secret}"><!ENTITY net SYSTEM "http://127.0.0.1:{port}/b">]>'
    )
    bad = "".join(
        f"<artist><id>{n}</id><name>&{name};</name></artist>" for n, name in enumerate(("l10", "file", "net"), 2)
    )
    dump = tmp_path / "discogs_20260301_artists.xml"
    dump.write_text(f"<artists>{doctype}{GOOD}{bad}{GOOD}</artists>")
    before, tally = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, Tally()

    found = [message.body for message in messages(open_files([dump]), "artists", tally)]

    assert len(found) == 2
    assert all(b"planted" not in body and b"haha" not in body for body in found)
    assert sum(tally.skipped.values()) >= 3
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < MEMORY
    assert callers == []


@pytest.mark.parametrize("depth", [300, 2_000, 100_000])
def test_elements_nested_too_deeply_are_a_broken_record_or_a_record(depth: int) -> None:
    """Fault 64."""
    raw = b"<artist><id>1</id>" + b"<odd>" * depth + b"</odd>" * depth + b"</artist>"

    try:
        record = read_record(raw)
    except BrokenRecord as error:
        assert error.reason is SkipReason.NOT_WELL_FORMED
    else:
        assert (record["id"], depth) == ("1", 300)
