"""The extractor as a process, against a real broker: what arrives, what is refused, and how it ends."""

import asyncio
import gzip
import hashlib
import json
import os
import signal
import sys
import time
import zlib
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiormq.abc import DeliveredMessage
from pydantic import SecretStr

from common.kinds import KINDS, Names, Service
from common.rabbitmq.topology import declare
from common.settings.environment import load as load_settings
from common.settings.programs import BrokerSettings
from extractor.loads import SyntheticLoad, messages, open_files
from extractor.manifest.format import HEADER_BYTES, ROW
from extractor.manifest.reader import Manifest
from extractor.message import canonical_json
from extractor.publishing import Job, publish_kind
from extractor.queues import Backlog, QueueGone
from extractor.reading import TAGS, SkipReason
from extractor.run import plan_of
from extractor.settings import ExtractorSettings
from extractor.tally import Awaited, Tally
from tests.servers.amqp import Peer, memory_alarm, new_names, peer_of
from tests.servers.native import OwnRabbitMQ
from tests.servers.servers import RabbitMQ

FRAGMENTS = Path(__file__).parents[3] / "shared/data/discogs"
ARTIST = b"<artist><id>%d</id><name>A name that is long enough</name></artist>"


@dataclass
class Site:
    """A broker with the queues of one prefix."""

    url: str
    names: Names
    peer: Peer
    started: list[Process] = field(default_factory=list)

    async def declare(self, kinds: Sequence[str] = KINDS, services: Sequence[Service] = tuple(Service)) -> None:
        """Declare what the services would."""
        for kind in kinds:
            for service in services:
                await declare(self.peer.connection, self.names, service, kind)

    async def ready(self, kind: str, service: Service = Service.TABLEINATOR) -> int:
        """How many messages wait in a queue."""
        length = await self.peer.ready(self.names.queue(service, kind))
        assert length is not None
        return length

    async def bodies(self, kind: str, service: Service = Service.TABLEINATOR) -> list[dict[str, Any]]:
        """Take what waits in a queue, decoded."""
        count, taken, arrived = await self.ready(kind, service), list[bytes](), asyncio.Event()

        async def take(message: DeliveredMessage) -> None:
            taken.append(message.body)
            if len(taken) == count:
                arrived.set()

        channel = await self.peer.connection.channel(publisher_confirms=False)
        if count:
            await channel.basic_consume(self.names.queue(service, kind), take, no_ack=True)
            async with asyncio.timeout(60):
                await arrived.wait()
        await channel.close()
        return [json.loads(body) for body in taken]

    async def first_records(self, *kinds: str) -> None:
        """Wait until some records of these kinds have arrived."""
        async with asyncio.timeout(60):
            while not all([await self.ready(kind) for kind in kinds]):
                await asyncio.sleep(0.05)

    async def start(self, *arguments: str | Path, **variables: str) -> Process:
        """Start the extractor."""
        environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("RABBITMQ_", "EXTRACTOR_", "SPINDLE_"))
            },
            "RABBITMQ_URL": self.url,
            "DISCOGS_EXCHANGE_PREFIX": self.names.prefix,
            **variables,
        }
        command = (sys.executable, "-m", "extractor", *map(str, arguments))
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill what a test that failed has left."""
        for process in self.started:
            if process.returncode is None:
                with suppress(ProcessLookupError):  # it has ended, and nobody has told us yet
                    os.killpg(process.pid, signal.SIGKILL)

    async def run(self, *arguments: str | Path, **variables: str) -> tuple[int, str, str]:
        """Run the extractor to its end: exit code, standard output, standard error."""
        process = await self.start(*arguments, **variables)
        return await ended(process)


async def ended(process: Process, seconds: float = 90.0) -> tuple[int, str, str]:
    """Wait for a process."""
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def site_on(url: str) -> AsyncIterator[Site]:
    async with peer_of(url) as peer:
        names = new_names()
        site = Site(url, names, peer)
        try:
            yield site
        finally:
            site.end()
        for kind in KINDS:
            for service in Service:
                await peer.delete_queue(names.queue(service, kind))


@pytest.fixture
async def site(rabbitmq: RabbitMQ) -> AsyncIterator[Site]:
    async with site_on(rabbitmq.url) as site:
        yield site


def dump(
    folder: Path, count: int, *, name: str = "discogs_20260301_artists.xml.gz", tail: bytes = b"</artists>"
) -> Path:
    document = b"<artists>" + b"".join(ARTIST % number for number in range(1, count + 1)) + tail
    (folder / name).write_bytes(gzip.compress(document))
    return folder / name


async def test_a_load_arrives_in_both_services_queues_followed_by_its_control_messages(site: Site) -> None:
    await site.declare()

    code, out, err = await site.run("--synthetic", "1500", "--seed", "3", "--month", "1", "--json")

    assert code == 0, err
    report = json.loads(out)
    load = SyntheticLoad(1500, 3, 1)
    expected = {kind: [json.loads(message.body) for message in messages(load, kind)] for kind in KINDS}
    for kind in KINDS:
        for service in Service:
            *records, file_complete, extraction_complete = await site.bodies(kind, service)
            assert records == expected[kind]
            assert file_complete == {
                "type": "file_complete",
                "data_type": kind,
                "timestamp": file_complete["timestamp"],
                "total_processed": len(records),
                "file": load.file_name(kind),
            }
            assert extraction_complete == {
                "type": "extraction_complete",
                "version": load.date,
                "timestamp": extraction_complete["timestamp"],
                "started_at": extraction_complete["started_at"],
                "record_counts": {each: len(expected[each]) for each in KINDS},
            }
        assert report["kinds"][kind]["published"] == len(expected[kind])
    assert report["complete"]


async def test_messages_have_the_properties_of_the_wire_format(site: Site, tmp_path: Path) -> None:
    await site.declare(["artists"])

    code, _, err = await site.run(dump(tmp_path, 3))

    assert code == 0, err
    found = await site.peer.get_all(site.names.queue(Service.GRAPHINATOR, "artists"))
    properties = found[0].header.properties
    assert properties.message_id == "artists:1"
    assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
    assert properties.content_encoding == "UTF-8"
    assert properties.headers is not None
    assert list(properties.headers)[:2] == ["load", "timestamp_in_ms"]  # the broker adds its own
    assert properties.headers["load"] == "20260301"
    published_ms = properties.headers["timestamp_in_ms"]
    assert isinstance(published_ms, int)
    assert abs(published_ms / 1000 - time.time()) < 600


@pytest.mark.skipif(not FRAGMENTS.is_dir(), reason="no real fragments in ../shared/data/discogs")
async def test_real_fragments_arrive_whole(site: Site) -> None:
    await site.declare()

    code, _, err = await site.run("--dumps", FRAGMENTS / "2020-08-stratified")

    assert code == 0, err
    for kind in KINDS:
        *records, _, _ = await site.bodies(kind)
        assert len({record["id"] for record in records}) == 500
        for record in records:
            bare = {key: value for key, value in record.items() if key not in ("type", "sha256")}
            assert record["sha256"] == hashlib.sha256(canonical_json(bare)).hexdigest()


async def test_nothing_is_published_before_every_queue_exists(site: Site, tmp_path: Path) -> None:
    """Fault 62."""
    await site.declare(["artists"], [Service.TABLEINATOR])

    code, _, err = await site.run(dump(tmp_path, 3), "--wait", "1")

    assert code == 2
    assert (
        f"Nothing was published: these queues do not exist: {site.names.queue(Service.GRAPHINATOR, 'artists')}" in err
    )
    assert "Traceback" not in err
    assert await site.ready("artists") == 0


async def test_it_waits_for_a_queue_that_is_still_to_come(site: Site, tmp_path: Path) -> None:
    await site.declare(["artists"], [Service.TABLEINATOR])
    process = await site.start(dump(tmp_path, 3), "--wait", "60")
    assert process.stderr is not None
    line = b""
    while b"Waiting" not in line:
        line = await process.stderr.readline()
        assert line, "ended without waiting"

    await site.declare(["artists"])
    code, _, err = await ended(process)

    assert code == 0, err
    assert await site.ready("artists") == 3 + 2
    assert await site.ready("artists", Service.GRAPHINATOR) == 3 + 2


async def test_only_the_services_that_are_required_must_be_there(site: Site, tmp_path: Path) -> None:
    await site.declare(["artists"], [Service.TABLEINATOR])

    code, _, err = await site.run(dump(tmp_path, 3), EXTRACTOR_REQUIRE="tableinator")

    assert code == 0, err
    assert await site.ready("artists") == 3 + 2


async def test_without_any_queue_a_message_is_refused_and_not_dropped(site: Site, tmp_path: Path) -> None:
    code, _, err = await site.run(dump(tmp_path, 3), EXTRACTOR_REQUIRE="none")

    assert code == 1
    assert "no queue is bound to it" in err


async def test_a_broker_that_is_not_there_is_a_sentence(site: Site, tmp_path: Path) -> None:
    code, _, err = await site.run(dump(tmp_path, 3), "--wait", "1", RABBITMQ_URL="amqp://guest:hush@127.0.0.1:1/")

    assert code == 2
    assert "Nothing was published: RabbitMQ at 127.0.0.1:1" in err
    assert "hush" not in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dumps", "/nowhere"], "is not a folder"),
        (["/nowhere/discogs_20260301_artists.xml.gz"], "is not there"),
        (["--synthetic", "10", "--report", "/nowhere/report.json"], "the report can't be written"),
        (["--synthetic", "0"], "not a whole number from 1"),
        (["--synthetic", "10", "--kinds", "tracks"], "not a selection of artists"),
        (["--synthetic", "10", "--load", "20261301"], "not a date"),
        (["--synthetic", "10", "--dumps", "."], "exactly one of"),
        ([], "exactly one of"),
    ],
)
async def test_wrong_arguments_are_a_sentence_and_exit_code_2(site: Site, arguments: list[str], sentence: str) -> None:
    code, _, err = await site.run(*arguments, "--wait", "0")

    assert code == 2
    assert sentence in err
    assert "Traceback" not in err


async def test_a_wrong_setting_is_a_sentence_and_exit_code_2(site: Site) -> None:
    code, _, err = await site.run("--synthetic", "10", EXTRACTOR_MAX_BACKLOG="many")

    assert code == 2
    assert "EXTRACTOR_MAX_BACKLOG is 'many'" in err
    assert "Traceback" not in err


async def test_broken_records_are_skipped_and_reported(site: Site, tmp_path: Path) -> None:
    """Fault 64."""
    await site.declare(["artists"])
    broken = [b"<artist><id>7</id><name>\xff</name></artist>", b"<artist><id>8</id><name>\x01</name></artist>"]
    tail = b"".join(broken) + b"<artist><id>9</id><name></artist>" + ARTIST % 10 + b"</artists>"
    report = tmp_path / "report.json"

    code, out, err = await site.run(dump(tmp_path, 5, tail=tail), "--report", report)

    assert code == 0, err
    found = json.loads(report.read_text())["kinds"]["artists"]
    assert found["published"] == 6
    assert found["skipped"] == {"invalid_utf8": 1, "control_character": 1, "not_well_formed": 1}
    assert [example["id"] for example in found["skipped_examples"]] == ["7", "8", "9"]
    assert "artists" in out
    *records, file_complete, _ = await site.bodies("artists")
    assert [record["id"] for record in records] == ["1", "2", "3", "4", "5", "10"]
    assert file_complete["total_processed"] == 6


async def test_a_dump_that_is_skipped_whole_is_not_complete(site: Site, tmp_path: Path) -> None:
    """Fault 74."""
    await site.declare(["artists", "labels"])
    unreadable = b"".join(b"<artist><id>%d</id><name>\xff</name></artist>" % number for number in range(1, 501))
    dump(tmp_path, 0, tail=unreadable + b"</artists>")
    (tmp_path / "discogs_20260301_labels.xml").write_bytes(b"<labels><label><id>1</id></label></labels>")
    (tmp_path / "discogs_20260301_masters.xml.gz.part").write_bytes(b"")

    code, out, err = await site.run("--dumps", tmp_path, "--json")

    assert code == 1, err
    artists = json.loads(out)["kinds"]["artists"]
    assert artists["ending"] == "failed"
    assert "500 of 500 records could not be read (invalid_utf8 500)" in artists["failure"]
    assert await site.bodies("artists") == []
    assert [body["type"] for body in await site.bodies("labels")] == ["data", "file_complete"]
    assert "discogs_20260301_masters.xml.gz.part is not named like" in err
    assert "lacks masters, releases" in err


async def test_a_check_fails_as_the_load_would(site: Site, tmp_path: Path) -> None:
    """Fault 74."""
    path = dump(tmp_path, 3, tail=b"<artist><name>No id</name></artist></artists>")

    strict, _, err = await site.run(path, "--only-check", EXTRACTOR_MAX_SKIPPED_PERCENT="0")
    usual, *_ = await site.run(path, "--only-check")

    assert (strict, usual) == (1, 0)
    assert "1 of 4 records could not be read (no_id 1)" in err


async def test_a_truncated_file_ends_without_control_messages_and_says_where(site: Site, tmp_path: Path) -> None:
    await site.declare(["artists", "labels"])
    path = dump(tmp_path, 1000)
    path.write_bytes(path.read_bytes()[:-200])
    whole = zlib.decompressobj(wbits=31).decompress(path.read_bytes()).count(b"</artist>")
    (tmp_path / "discogs_20260301_labels.xml").write_bytes(b"<labels><label><id>1</id></label></labels>")

    code, out, err = await site.run("--dumps", tmp_path, "--json")

    assert code == 1
    report = json.loads(out)
    artists = report["kinds"]["artists"]
    assert artists["ending"] == "failed"
    assert "the gzip file ends in the middle (at byte " in artists["failure"]
    assert "the gzip file ends in the middle (at byte " in err
    bodies = await site.bodies("artists")
    assert 0 < len(bodies) == artists["published"] == whole < 1000
    assert all(body["type"] == "data" for body in bodies)
    # The other kind is whole and says so; the load is not, and nobody says that it is.
    assert [body["type"] for body in await site.bodies("labels")] == ["data", "file_complete"]


async def test_the_backlog_is_that_of_all_queues_together(site: Site, tmp_path: Path) -> None:
    """Fault 92: six in one queue, six in the other, and the other kind's half of the limit, are more than 20."""
    await site.declare(["artists", "labels"])
    await site.peer.publish(site.names.exchange("artists"), *(b"{}" for _ in range(6)))
    (tmp_path / "discogs_20260301_labels.xml").write_bytes(b"<labels><label><id>1</id></label></labels>")
    dump(tmp_path, 50)
    process = await site.start("--dumps", tmp_path, EXTRACTOR_MAX_BACKLOG="20", LOG_FORMAT="logfmt")
    assert process.stderr is not None
    line = b""
    while b"Paused" not in line:
        line = await process.stderr.readline()
        assert line, "ended without pausing"

    assert b"limit=10 waiting=12" in line
    process.terminate()
    await ended(process)


async def test_it_pauses_while_a_queue_is_too_long(site: Site, tmp_path: Path) -> None:
    await site.declare(["artists"])
    exchange = site.names.exchange("artists")
    await site.peer.publish(exchange, *(b"{}" for _ in range(20)))
    process = await site.start(dump(tmp_path, 50), EXTRACTOR_MAX_BACKLOG="10", LOG_FORMAT="logfmt")
    assert process.stderr is not None
    line = b""
    while b"Paused" not in line:
        line = await process.stderr.readline()
        assert line, "ended without pausing"

    assert await site.ready("artists") == 20
    for service in Service:
        await site.peer.get_all(site.names.queue(service, "artists"))
    code, _, err = await ended(process)

    assert code == 0, err
    assert "Publishing again" in err
    assert await site.ready("artists") == 50 + 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_signal_midway_ends_every_worker_and_announces_nothing(
    site: Site, number: signal.Signals, code: int
) -> None:
    await site.declare()
    process = await site.start("--synthetic", "2000000", EXTRACTOR_MAX_BACKLOG="5000")
    await site.first_records(*KINDS)
    workers = psutil.Process(process.pid).children(recursive=True)

    os.killpg(process.pid, number)  # as a terminal does, to every process of the group
    ending, _, err = await ended(process, 15)

    assert ending == code, err
    assert "Traceback" not in err, err
    assert len(workers) >= 4
    _, alive = await asyncio.to_thread(psutil.wait_procs, workers, 5)
    assert alive == []
    for kind in KINDS:
        assert {body["type"] for body in await site.bodies(kind)} == {"data"}


async def test_workers_end_when_their_parent_is_killed(site: Site) -> None:
    await site.declare()
    process = await site.start("--synthetic", "2000000", EXTRACTOR_MAX_BACKLOG="5000")
    await site.first_records(*KINDS)
    workers = psutil.Process(process.pid).children(recursive=True)

    process.kill()
    await ended(process, 15)

    _, alive = await asyncio.to_thread(psutil.wait_procs, workers, 15)
    assert alive == []


async def test_a_worker_that_dies_fails_the_run_and_the_load_is_not_announced(site: Site) -> None:
    await site.declare(["artists", "labels"])
    process = await site.start("--synthetic", "60000", "--kinds", "artists,labels", "--json")
    await site.first_records("artists")
    for worker in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any("spawn_main" in part for part in worker.cmdline()):
                worker.kill()
                break

    code, out, _ = await ended(process)

    assert code == 1
    endings = sorted(kind["ending"] for kind in json.loads(out)["kinds"].values())
    assert endings == ["complete", "failed"]
    assert not [
        body
        for kind in ("artists", "labels")
        for body in await site.bodies(kind)
        if body["type"] == "extraction_complete"
    ]


def odd_dump(folder: Path, kind: str, count: int) -> Path:
    """Records of several sizes, some unreadable, some with tags in comments and CDATA; and two gzip members."""
    odd = {7: "<!-- </{tag}> -->", 11: "<![CDATA[</{tag}>]]>", 13: "\x01", 17: "</name><name>", 19: "&undeclared;"}
    tag = TAGS[kind]
    records = []
    for number in range(1, count + 1):
        inside = "".join(text.format(tag=tag) for each, text in odd.items() if number % each == 0)
        urls = "".join(f"<url>http://example.org/{url}</url>" for url in range(number % 40))
        start = f"<{tag}><id>{number}</id>" if kind in ("artists", "labels") else f'<{tag} id="{number}">'
        records.append(f"{start}<name>{inside}</name><urls>{urls}</urls></{tag}>\n")
    document = f"<{kind}>{''.join(records)}</{kind}>".encode()
    path = folder / f"discogs_20260301_{kind}.xml.gz"
    path.write_bytes(gzip.compress(document[:9999]) + gzip.compress(document[9999:]))
    return path


def without_times(bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in body.items() if key not in ("timestamp", "started_at")} for body in bodies]


@pytest.mark.parametrize("kind", KINDS)
async def test_with_parsers_arrives_what_arrives_without_and_the_manifests_are_equal(
    site: Site, tmp_path: Path, kind: str
) -> None:
    await site.declare([kind])
    load = open_files([odd_dump(tmp_path, kind, 900)])
    arrived, listed, skipped, waited = [], [], [], []

    for parsers in ("1", "2"):
        variables = {
            "RABBITMQ_URL": site.url,
            "DISCOGS_EXCHANGE_PREFIX": site.names.prefix,
            "SPINDLE_STATE": str(tmp_path / parsers),
            "EXTRACTOR_MAX_SKIPPED_PERCENT": "50",
            "EXTRACTOR_PARSERS": parsers,
        }
        settings, tally = load_settings(ExtractorSettings, variables), Tally()
        await publish_kind(Job(kind, load, settings, plan=plan_of(settings, None)), tally, lambda _: None)
        arrived.append(without_times(await site.bodies(kind)))
        listed.append({path.name: path.read_bytes() for path in (tmp_path / parsers).iterdir()})
        skipped.append((tally.skipped, tally.examples))
        waited.append(set(tally.waited))

    assert arrived[0] == arrived[1]
    assert listed[0] == listed[1]
    assert skipped[0] == skipped[1]
    assert len(arrived[0]) == 900 - skipped[0][0].total() + 1
    assert set(skipped[0][0]) == {SkipReason.CONTROL_CHARACTER, SkipReason.NOT_WELL_FORMED}
    assert list(listed[0]) == [f"20260301.{kind}.manifest"]
    assert [Awaited.PARSERS in each for each in waited] == [False, True]
    assert {Awaited.BROKER, Awaited.ROOM} <= waited[0]


def parsers_of(process: Process) -> list[psutil.Process]:
    return [
        each
        for each in psutil.Process(process.pid).children(recursive=True)
        if any("extractor.parsing" in part for part in each.cmdline())
    ]


async def test_a_parser_that_is_killed_fails_its_kind_behind_what_was_confirmed(site: Site, tmp_path: Path) -> None:
    await site.declare(["artists"])
    path, state = dump(tmp_path, 300_000), tmp_path / "state"
    process = await site.start(
        path, "--json", EXTRACTOR_PARSERS="2", EXTRACTOR_MAX_BACKLOG="1000000", SPINDLE_STATE=str(state)
    )
    await site.first_records("artists")
    others = psutil.Process(process.pid).children(recursive=True)

    parsers_of(process)[1].kill()
    code, out, err = await ended(process)

    assert code == 1
    failure = json.loads(out)["kinds"]["artists"]["failure"]
    assert failure.startswith(
        "parser 2 of 2 has ended, and the file was not read to its end: its process was killed by"
    )
    assert "Traceback" not in err
    _, alive = await asyncio.to_thread(psutil.wait_procs, others, 15)
    assert alive == []
    bodies = await site.bodies("artists")
    assert {body["type"] for body in bodies} == {"data"}
    assert [int(body["id"]) for body in bodies] == list(range(1, len(bodies) + 1))
    part = (state / "20260301.artists.manifest.part").read_bytes()
    assert 0 < (len(part) - HEADER_BYTES) // ROW.size <= len(bodies) < 300_000


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, 1)])
async def test_parsers_end_with_the_process_that_cuts(
    site: Site, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Told to end with the whole group, or killed alone."""
    await site.declare(["artists"])
    process = await site.start(dump(tmp_path, 300_000), EXTRACTOR_PARSERS="2", EXTRACTOR_MAX_BACKLOG="1000000")
    await site.first_records("artists")
    started, parsers = psutil.Process(process.pid).children(recursive=True), parsers_of(process)
    (worker,) = [each for each in started if each.children()]

    if number is signal.SIGKILL:
        worker.kill()
    else:
        os.killpg(process.pid, number)
    ending, _, err = await ended(process, 15)

    assert ending == code, err
    assert "Traceback" not in err
    assert len(parsers) == 2
    _, alive = await asyncio.to_thread(psutil.wait_procs, started, 15)
    assert alive == []


async def test_a_queue_that_is_deleted_midway_fails_the_run(site: Site) -> None:
    await site.declare(["artists"])
    process = await site.start("--synthetic", "1000000", "--kinds", "artists", EXTRACTOR_MAX_BACKLOG="1000000")
    await site.first_records("artists")

    await site.peer.delete_queue(site.names.queue(Service.GRAPHINATOR, "artists"))
    code, _, err = await ended(process)

    assert code == 1
    assert "does not exist any more" in err
    assert {body["type"] for body in await site.bodies("artists")} == {"data"}


async def test_a_queue_that_is_deleted_ends_the_wait_for_confirms_that_it_took_along(site: Site) -> None:
    await site.declare(["artists"])
    queue = site.names.queue(Service.GRAPHINATOR, "artists")
    broker = BrokerSettings(url=SecretStr(site.url))

    with pytest.raises(QueueGone, match=f"{queue} does not exist any more"):
        async with asyncio.timeout(30), Backlog(broker, [queue], limit=10, name="test"):
            await site.peer.delete_queue(queue)
            await asyncio.Event().wait()


@pytest.mark.parametrize("body_fails", [False, True], ids=["is cancelled", "fails as it ends"])
async def test_beside_a_deleted_queue_neither_a_cancellation_nor_the_queue_is_forgotten(
    site: Site, body_fails: bool
) -> None:
    await site.declare(["artists"])
    queue = site.names.queue(Service.GRAPHINATOR, "artists")

    async def publish() -> None:
        body = asyncio.current_task()
        assert body is not None
        try:
            async with Backlog(BrokerSettings(url=SecretStr(site.url)), [queue], limit=10, name="test"):
                await site.peer.delete_queue(queue)
                try:
                    await asyncio.Event().wait()
                finally:
                    if body_fails:
                        raise OSError("no space left")
                    body.cancel()
        finally:
            cancelling.append(body.cancelling())

    cancelling: list[int] = []
    with pytest.raises(QueueGone if body_fails else asyncio.CancelledError):
        async with asyncio.timeout(30):
            await asyncio.create_task(publish())
    assert cancelling == [0 if body_fails else 1]


async def test_a_broker_that_blocks_publishers_can_be_left_by_a_signal(own_rabbitmq: OwnRabbitMQ) -> None:
    """Fault 46."""
    async with site_on(own_rabbitmq.broker.url) as site:
        await site.declare(["artists"])
        process = await site.start("--synthetic", "1000000", "--kinds", "artists", EXTRACTOR_MAX_BACKLOG="1000000")
        await site.first_records("artists")
        await memory_alarm(own_rabbitmq, on=True)
        assert process.stderr is not None
        line = b""
        while b"Broker blocks publishing" not in line:
            line = await process.stderr.readline()
            assert line, "ended without being blocked"

        process.terminate()
        code, _, err = await ended(process, 15)
        await memory_alarm(own_rabbitmq, on=False)

    assert code == 143, err


PAUSING = """
import asyncio, os, sys
from pathlib import Path
from common.settings.environment import load
from extractor import queues
from extractor.loads import open_files
from extractor.publishing import Job, publish_kind
from extractor.run import plan_of
from extractor.settings import ExtractorSettings
from extractor.tally import Tally
queues.CHECK_INTERVAL = 0.0
settings = load(ExtractorSettings, os.environ)
job = Job("artists", open_files([Path(sys.argv[1])]), settings, plan=plan_of(settings, None))
asyncio.run(publish_kind(job, Tally(), lambda said: print(said, flush=True)))
"""
"""One kind's worker, which looks at the queues before every chunk."""


async def paused_midway(site: Site, path: Path, state: Path) -> Process:
    """A worker that has published some hundred records, however fast it is, and waits for room."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "EXTRACTOR_"))},
        "RABBITMQ_URL": site.url,
        "DISCOGS_EXCHANGE_PREFIX": site.names.prefix,
        "SPINDLE_STATE": str(state),
        "EXTRACTOR_MAX_BACKLOG": "1000",
        "EXTRACTOR_MAX_UNCONFIRMED": "200",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PAUSING, path), env=environment, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    site.started.append(process)
    assert process.stdout is not None
    async with asyncio.timeout(90):
        while (line := await process.stdout.readline()).strip() != b"paused":
            assert line, "ended without a pause"
    return process


async def test_a_load_that_was_killed_goes_on_behind_what_was_confirmed(site: Site, tmp_path: Path) -> None:
    """The manifest is the position; nothing is missing, and only what was unconfirmed comes twice."""
    count = 3000
    await site.declare(["artists"])
    path, state = dump(tmp_path, count), tmp_path / "state"
    paused = await paused_midway(site, path, state)
    os.killpg(paused.pid, signal.SIGKILL)
    await paused.wait()
    rows = [row[0] for row in ROW.iter_unpack((state / "20260301.artists.manifest.part").read_bytes()[HEADER_BYTES:])]

    code, out, err = await site.run(path, "--json", SPINDLE_STATE=str(state))

    assert code == 0, err
    found = json.loads(out)["kinds"]["artists"]
    assert (found["resumed"], found["published"]) == (len(rows), count)
    assert rows == list(range(1, len(rows) + 1))
    *records, file_complete, _ = await site.bodies("artists")
    ids = [int(record["id"]) for record in records]
    arrived = len(ids) - (count - len(rows))  # of the killed one: the broker still reads what it had sent
    assert 0 < len(rows) <= arrived < count
    assert Counter(ids) == Counter(range(1, arrived + 1)) + Counter(range(len(rows) + 1, count + 1))
    with Manifest.open(state / "20260301.artists.manifest", load="20260301", kind="artists") as manifest:
        assert list(manifest.ids()) == list(range(1, count + 1))
        assert manifest.header.announced
        assert file_complete["manifest"] == manifest.digest
    assert file_complete["total_processed"] == count


async def test_a_queue_that_is_deleted_takes_the_position_along(site: Site, tmp_path: Path) -> None:
    await site.declare(["artists"])
    path, state = dump(tmp_path, 3000), tmp_path / "state"
    paused = await paused_midway(site, path, state)

    await site.peer.delete_queue(site.names.queue(Service.TABLEINATOR, "artists"))
    code, _, err = await ended(paused)

    assert code == 1
    assert "does not exist any more" in err
    assert list(state.iterdir()) == []


async def test_only_what_is_new_or_changed_since_a_load_is_published(site: Site, tmp_path: Path) -> None:
    await site.declare(["artists"])
    before = dump(tmp_path, 50, name="discogs_20260201_artists.xml.gz")
    after = dump(tmp_path, 49, tail=b"<artist><id>50</id><name>Another</name></artist>" + ARTIST % 51 + b"</artists>")
    code, _, err = await site.run(before, SPINDLE_STATE=str(tmp_path / "state"))
    assert code == 0, err
    await site.bodies("artists")

    code, out, err = await site.run(after, "--since", "20260201", "--json", SPINDLE_STATE=str(tmp_path / "state"))

    assert code == 0, err
    *records, file_complete, _ = await site.bodies("artists")
    assert [record["id"] for record in records] == ["50", "51"]
    assert (file_complete["total_processed"], file_complete["unchanged"]) == (2, 49)
    assert json.loads(out)["kinds"]["artists"]["unchanged"] == 49


async def test_since_a_load_without_manifest_nothing_is_published(site: Site, tmp_path: Path) -> None:
    await site.declare(["artists"])

    code, _, err = await site.run(dump(tmp_path, 3), "--since", "20260201", SPINDLE_STATE=str(tmp_path / "state"))
    nowhere, _, said = await site.run(dump(tmp_path, 3), "--since", "20260201")

    assert (code, nowhere) == (2, 2)
    assert "there is no manifest of artists of load 20260201" in err
    assert "SPINDLE_STATE names no folder" in said
    assert await site.ready("artists") == 0
