"""`python -m spindle dead-letters` as an operator types it, on a real broker: what it says, asks, and exits with."""

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from common.kinds import Names, Service
from common.rabbitmq.topology import declare
from tests.servers.amqp import Peer, new_names, peer_of
from tests.servers.servers import RabbitMQ
from tests.told import told

SERVICE, KIND = Service.TABLEINATOR, "labels"
PAYLOAD = "what-the-record-says"
HERE = ("--kind", KIND)  # two queues are quicker than eight


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it said to a program."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Actions:
    """A dead-letter queue, and an operator beside it."""

    url: str
    names: Names
    peer: Peer

    async def set_aside(
        self, *ids: int, reason: str = "refused", service: Service = SERVICE, number: str | None = None
    ) -> None:
        """Add letters to a service's queue, each with its own number or all with the same."""
        for each in ids:
            number_of_this = f"{each:016x}" if number is None else number
            said = {"letter": number_of_this, "id": str(each), "reason": reason, "text": "no such city"}
            await self.peer.publish(
                self.names.dead_letter_exchange(service, KIND),
                f'{{"id":"{each}","name":"{PAYLOAD}"}}'.encode(),
                headers={"load": "20260301", **{f"x-spindle-{name}": value for name, value in said.items()}},
            )

    async def left(self, service: Service = SERVICE) -> int:
        """How many letters are in a service's queue."""
        return await self.peer.ready(self.names.dead_letter_queue(service, KIND)) or 0

    @property
    def environ(self) -> dict[str, str]:
        """What leads a command here."""
        return {"RABBITMQ_URL": self.url, "DISCOGS_EXCHANGE_PREFIX": self.names.prefix}

    async def start(self, *arguments: str, encoding: str = "utf-8", **streams: Any) -> asyncio.subprocess.Process:
        """Begin a command."""
        streams = {"stdin": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.PIPE, **streams}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "spindle", "dead-letters", *arguments, *HERE),
            env={**os.environ, **self.environ, "PYTHONIOENCODING": encoding},
            stdout=asyncio.subprocess.PIPE,
            **streams,
        )

    async def run(self, *arguments: str) -> Said:
        """Run a command to its end, with nobody to ask."""
        async with asyncio.timeout(120.0):
            said = await told(["dead-letters", *arguments, *HERE], self.environ)
        return Said(said.code, said.out, said.err)

    async def run_apart(self, *arguments: str, encoding: str) -> Said:
        """The same in a process of its own, whose output has this encoding."""
        process = await self.start(*arguments, encoding=encoding)
        async with asyncio.timeout(120.0):
            out, err = await process.communicate()
        return Said(process.returncode or 0, out.decode(encoding), err.decode(encoding))


@pytest.fixture
async def desk(rabbitmq: RabbitMQ) -> AsyncIterator[Actions]:
    async with peer_of(rabbitmq.url) as peer:
        names = new_names()
        await declare(peer.connection, names, SERVICE, KIND)
        yield Actions(rabbitmq.url, names, peer)


async def test_a_list_counts_letters_by_reason_and_shows_no_payload(desk: Actions) -> None:
    await desk.set_aside(1, 2)
    await desk.set_aside(3, reason="not_json")

    groups, each = await desk.run("list", "--json"), await desk.run("list", "--each", "--json")
    screen = await desk.run("list", "--reason", "not_json")

    assert [groups.code, each.code, screen.code] == [0, 0, 0]
    assert (groups.data["letters"], groups.data["newest_load"]) == (3, "20260301")
    assert [(group["reason"], group["letters"]) for group in groups.data["groups"]] == [("refused", 2), ("not_json", 1)]
    assert [letter["id"] for letter in each.data] == ["1", "2", "3"]
    assert "1 letters" in screen.out and "not_json" in screen.out and "no such city" in screen.out
    assert PAYLOAD not in groups.out + each.out + screen.out
    assert await desk.left() == 3


async def test_a_letter_is_shown_with_its_payload_and_none_is_exit_code_1(desk: Actions) -> None:
    await desk.set_aside(1, 2)

    shown, nothing = await desk.run("show", "--id", "2", "--json"), await desk.run("show", "--id", "5")

    assert (shown.code, nothing.code) == (0, 1)
    assert [json.loads(letter["body"]) for letter in shown.data] == [{"id": "2", "name": PAYLOAD}]
    assert nothing.out == "no such letter\n"


async def test_letters_are_exported_to_a_file_or_to_standard_output_and_stay(desk: Actions, tmp_path: Path) -> None:
    await desk.set_aside(1, 2)
    path = tmp_path / "letters.jsonl"

    to_file, again = await desk.run("export", "--to", str(path), "--json"), await desk.run("export", "--to", str(path))
    to_output = await desk.run("export", "--to", "-")

    assert (to_file.code, to_file.data) == (0, {"exported": 2, "file": str(path)})
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["1", "2"]
    assert (again.code, "exists" in again.err) == (2, True)
    assert (to_output.code, to_output.out, to_output.err) == (0, path.read_text(), "2 letters written\n")
    assert await desk.left() == 2


async def test_letters_are_dropped_only_with_a_yes(desk: Actions) -> None:
    await desk.set_aside(1, 2, 3)
    await desk.set_aside(4, reason="not_json")

    unasked = await desk.run("drop", "--reason", "refused")
    dry = await desk.run("drop", "--reason", "refused", "--dry-run", "--json")
    assert await desk.left() == 4
    dropped = await desk.run("drop", "--reason", "refused", "--limit", "2", "--yes", "--json")

    assert [unasked.code, dry.code, dropped.code] == [2, 0, 0]
    assert "--yes" in unasked.err
    assert dry.data == {"dropped": 0, "chosen": 3, "dry_run": True}
    assert dropped.data == {"dropped": 2, "chosen": 3, "dry_run": False}
    assert [letter["id"] for letter in (await desk.run("list", "--each", "--json")).data] == ["3", "4"]


async def test_letters_that_others_gave_one_number_are_not_taken_for_copies(desk: Actions) -> None:
    await desk.set_aside(1, 2, 2, number="abc")
    await desk.set_aside(3, 4, number="")

    listed = await desk.run("list", "--each", "--json")

    assert sorted(letter["id"] for letter in listed.data) == ["1", "2", "2", "3", "4"]
    assert await desk.left() == 5


@pytest.mark.parametrize(
    ("answer", "left", "number"),
    [(b"y\n", 0, None), (b"y\n", 0, ""), (b"n\n", 2, None), (b"\x04", 2, None)],
    ids=["yes", "yes-without-numbers", "no", "Ctrl-D"],
)
async def test_a_drop_asks_and_takes_nothing_that_came_after_the_question(
    desk: Actions, answer: bytes, left: int, number: str | None
) -> None:
    await declare(desk.peer.connection, desk.names, Service.GRAPHINATOR, KIND)
    await desk.set_aside(1, 2, number=number)
    ours, theirs = pty.openpty()

    try:
        process = await desk.start("drop", "--reason", "refused", stdin=theirs)
        assert process.stderr is not None
        async with asyncio.timeout(60.0):
            asked = await process.stderr.readuntil(b"[y/N] ")
            await desk.set_aside(1, service=Service.GRAPHINATOR, number=number)  # whose queue is gone through first
            os.write(ours, answer)
            out, _ = await process.communicate()
    finally:
        for end in (ours, theirs):
            os.close(end)
        with suppress(ProcessLookupError):
            process.kill()

    assert asked == b"Remove 2 dead letters for good? [y/N] "
    assert (process.returncode, out) == ((2, b"") if left else (0, b"2 of 2 letters dropped\n"))
    assert (await desk.left(), await desk.left(Service.GRAPHINATOR)) == (left, 1)


async def test_a_reader_who_leaves_ends_an_export_without_a_word(desk: Actions) -> None:
    size = 3000  # together more than a pipe holds
    await desk.peer.publish(
        desk.names.dead_letter_exchange(SERVICE, KIND), *(b"x" * size for _ in range(100)), headers={"load": "20260301"}
    )

    process = await desk.start("export", "--to", "-")
    assert process.stdout is not None and process.stderr is not None
    async with asyncio.timeout(120.0):
        await process.stdout.readexactly(10)
        process.stdout._transport.close()  # type: ignore[attr-defined]  # the only way to leave a pipe unread
        said = await process.stderr.read()
        await process.wait()

    assert (process.returncode, said) == (141, b"")
    async with asyncio.timeout(30.0):
        while await desk.left() < 100:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
async def test_letters_are_listed_and_shown_on_a_terminal_of_any_encoding(desk: Actions, encoding: str) -> None:
    await desk.peer.publish(
        desk.names.dead_letter_exchange(SERVICE, KIND),
        '{"id":"1","name":"Björk 中"}'.encode(),
        headers={"x-spindle-reason": "refused", "x-spindle-id": "1", "x-spindle-text": "Björk 中" + "x" * 80},
    )

    listed = await desk.run_apart("list", encoding=encoding)
    shown = await desk.run_apart("show", "--json", encoding=encoding)

    assert [listed.code, shown.code] == [0, 0]
    assert "\\u4e2d" in listed.out
    assert json.loads(shown.data[0]["body"])["name"] == "Björk 中"


async def test_what_was_exported_and_dropped_is_imported_as_it_was_and_what_is_there_is_not(
    desk: Actions, tmp_path: Path
) -> None:
    await desk.set_aside(1, 2, 3)
    queue, path = desk.names.dead_letter_queue(SERVICE, KIND), tmp_path / "letters.jsonl"
    assert (await desk.run("export", "--to", str(path))).code == 0
    assert (await desk.run("drop", "--id", "1", "--id", "3", "--yes")).code == 0

    planned = await desk.run("import", "--from", str(path), "--dry-run", "--json")
    left = await desk.left()
    imported = await desk.run("import", "--from", str(path), "--json")
    again = await desk.run("import", "--from", str(path))

    assert (planned.code, planned.data) == (0, {"imported": 2, "there_already": 1, "refused": 0, "dry_run": True})
    assert left == 1
    assert (imported.code, imported.data["imported"]) == (0, 2)
    assert "0 letters put back; 3 are there already" in again.out
    said = [json.loads(line) for line in path.read_text().splitlines()]
    after = [json.loads(line) for line in (await desk.run("export", "--to", "-")).out.splitlines()]
    assert sorted(after, key=lambda each: each["id"]) == said
    messages = await desk.peer.get_all(queue)
    assert {(message.header.properties.headers or {})["load"] for message in messages} == {"20260301"}


async def test_a_cut_export_is_refused_and_nothing_is_imported(desk: Actions, tmp_path: Path) -> None:
    await desk.set_aside(1, 2)
    path = tmp_path / "letters.jsonl"
    assert (await desk.run("export", "--to", str(path))).code == 0
    assert (await desk.run("drop", "--all", "--yes")).code == 0
    path.write_text(path.read_text()[:-20])

    refused = await desk.run("import", "--from", str(path))

    assert refused.code == 2
    assert "line 2: it is not JSON, or was cut. Nothing was imported." in refused.err
    assert await desk.left() == 0


async def test_an_edited_record_goes_back_to_its_queue_and_its_letter_is_done(desk: Actions) -> None:
    await desk.set_aside(1, 2)

    planned = await desk.run("edit", "--id", "1", "--set", "name=B", "--dry-run", "--json")
    asked = await desk.run("edit", "--id", "1", "--set", "name=B")
    edited = await desk.run("edit", "--all", "--set", "name=B", "--yes", "--json")

    assert (planned.code, planned.data["edited"]) == (0, 1)
    assert asked.code == 2
    assert "nobody can be asked here: say --yes" in asked.err
    nothing = {"unchanged": 0, "refused": 0, "gone": 0, "outdated": 0, "not_editable": [], "dry_run": False}
    assert (edited.code, edited.data, await desk.left()) == (0, nothing | {"edited": 2}, 0)
    messages = await desk.peer.get_all(desk.names.queue(SERVICE, KIND))
    assert [json.loads(message.body) for message in messages] == [{"id": "1", "name": "B"}, {"id": "2", "name": "B"}]
    headers: list[Any] = [message.header.properties.headers for message in messages]
    assert [(each["load"], each["x-spindle-replays"]) for each in headers] == [("20260301", 1)] * 2
    assert [each["x-spindle-edited-from"] for each in headers] == ["0000000000000001", "0000000000000002"]


async def test_what_can_not_be_edited_stays_and_is_named(desk: Actions) -> None:
    await desk.set_aside(1)

    said = await desk.run("edit", "--id", "1", "--set", "artists[0].id=5", "--yes")

    assert said.code == 1
    assert "stays: labels 1: there is no artists[0].id in it" in said.out
    assert await desk.left() == 1
