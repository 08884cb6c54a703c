"""However many parsers read a dump, the same comes out of it; few chunks are under way; no parser outlives its pool."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.kinds import KINDS
from extractor.message import Message
from extractor.parsing.parser import Parsed, chunk_frame, parse, take_answer
from extractor.parsing.pool import Answer, ParserEnded, ParserPool
from extractor.parsing.reader import PENDING, DirectReader, Pending, PooledReader, Reader
from extractor.reading import TAGS, BrokenRecord, Skip, SkipReason
from extractor.splitting import Piece, split
from extractor.streams import Truncated

Found = list[Message | Skip]


class Pool(ParserPool):
    """One that counts, in a loop that is driven from outside."""

    def __init__(self, count: int) -> None:
        super().__init__("releases", count)
        self.records = 0

    def submit(self, raws: Sequence[bytes]) -> Answer:
        self.records += len(raws)
        return super().submit(raws)

    @property
    def processes(self) -> list[psutil.Process]:
        return [psutil.Process(parser._process.pid) for parser in self._parsers]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def pool(loop: asyncio.AbstractEventLoop) -> Iterator[Pool]:
    """Two parsers for all that end well."""
    pool = Pool(2)
    loop.run_until_complete(pool.__aenter__())
    yield pool
    loop.run_until_complete(pool.__aexit__(None, None, None))
    loop.run_until_complete(asyncio.sleep(0))


async def read(reader: Reader, pieces: Iterator[Piece | Skip], asked: Callable[[Piece], bool]) -> tuple[Found, str]:
    """What becomes of the pieces whose messages are asked for, and how they end."""
    found: Found = []
    try:
        for piece in reader.draw(pieces):
            if isinstance(piece, Pending):
                await reader.wait()
            elif isinstance(piece, Skip):
                found.append(piece)
            elif asked(piece):
                found.append(outcome(reader, piece))
    except Truncated as error:
        return found, str(error)
    return found, ""


def outcome(reader: Reader, piece: Piece) -> Message | Skip:
    try:
        return reader.read(piece)
    except BrokenRecord as error:
        return piece.skipped(error)


def everything(_: Piece) -> bool:
    return True


def release(number: int, title: str = "T") -> bytes:
    return f'<release id="{number}"><title>{title}</title></release>'.encode()


def numbered(count: int, title: str = "T") -> Iterator[Piece]:
    for number in range(1, count + 1):
        yield Piece(number, release(number, title))


# What stands in a record or between two: tags that are none, tags of its own kind, and whatever makes it unreadable.
_INSIDE = st.sampled_from(
    [
        *("<title>T &amp; U</title>", "<{tag} id='9'>nested</{tag}>", "<{tag}/>", "<odd a='1'>x</odd>", "ẞ🎵"),
        *("<!-- </{tag}> -->", "<![CDATA[</{tag}><{tag}>]]>", "<sublabels><label id='7'>L</label></sublabels>"),
        *("<id>5</id>", "<id>5</id><id>6</id>", "</{tag}>", "<{tag}>", "<!--", "<![CDATA[", "&entity;", "&#1;"),
        *("<", "&", "\x01", "\ud800", "<urls><url>u</url></urls>", "<images><image/></images>", "{root}", "</{root}>"),
    ]
)
_BETWEEN = st.sampled_from(["", "", "", "\n", "<!-- <{tag}> -->", "text", "<?p i?>", "</{tag}>"])


def _record(number: int, inside: Sequence[str], times: int, behind: str) -> str:
    return f"<{{tag}} id='{number}'><id>{number}</id>{''.join(inside) * times}</{{tag}}>{behind}"


_RECORD = st.builds(_record, st.integers(0, 10**6), st.lists(_INSIDE, max_size=3), st.integers(1, 40), _BETWEEN)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, bytes]:
    """A kind, and something that was meant as a dump of it."""
    kind = draw(st.sampled_from(KINDS))
    head = draw(st.sampled_from(["", "<?xml version='1.0'?>", '<!DOCTYPE x [<!ENTITY entity "e">]>']))
    records = "".join(draw(st.lists(_RECORD, max_size=12)))
    text = f"{head}<{kind}>{records}</{kind}>".replace("{tag}", TAGS[kind]).replace("{root}", kind)
    document = text.encode(errors="surrogatepass")
    return kind, document[: draw(st.sampled_from([len(document), len(document), len(document) // 2]))]


@given(drawn=documents(), chunk_bytes=st.sampled_from([1, 100, 1000]), every=st.sampled_from([1, 1, 2, 5]))
@settings(max_examples=100)
def test_whatever_a_dump_holds_parsers_make_the_same_of_it(
    drawn: tuple[str, bytes], chunk_bytes: int, every: int, loop: asyncio.AbstractEventLoop, pool: Pool
) -> None:
    """Messages, what is skipped and why and where, and how it ends."""
    kind, document = drawn

    async def both() -> tuple[tuple[Found, str], tuple[Found, str]]:
        readers = DirectReader(kind), PooledReader(kind, pool, chunk_bytes=chunk_bytes)
        one, many = [await read(reader, split([document], kind), lambda p: p.offset % every == 0) for reader in readers]
        return one, many

    one, many = loop.run_until_complete(both())

    assert one == many


def test_how_deep_a_record_may_be_does_not_depend_on_who_reads_it(loop: asyncio.AbstractEventLoop, pool: Pool) -> None:
    """A parser has more of the stack left than the cutter."""
    limit = sys.getrecursionlimit()
    depths = range(limit - 100, limit - 20)
    pieces = [Piece(at, b"<release id='1'>" + b"<a>" * at + b"</a>" * at + b"</release>") for at in depths]

    async def found(reader: Reader) -> list[bool]:
        outcomes, _ = await read(reader, iter(pieces), everything)
        return [isinstance(each, Message) for each in outcomes]

    one = loop.run_until_complete(found(DirectReader("releases")))
    many = loop.run_until_complete(found(PooledReader("releases", pool, chunk_bytes=1000)))

    assert one == many
    assert one[0]
    assert not one[-1]


def test_a_chunk_ends_behind_a_record_however_large_that_is(loop: asyncio.AbstractEventLoop, pool: Pool) -> None:
    """More than any socket takes at once, in both directions."""
    pieces = [Piece(at, release(at, "x" * size)) for at, size in enumerate([10, 3_000_000, 10, 3_000_000, 10], start=1)]

    one = loop.run_until_complete(read(DirectReader("releases"), iter(pieces), everything))
    many = loop.run_until_complete(read(PooledReader("releases", pool), iter(pieces), everything))

    assert one == many
    assert len(one[0]) == 5


@pytest.mark.parametrize(
    ("title", "chunk_bytes", "records"),
    [("T", 1 << 30, 6 * 256), ("x" * 5_000, 10_000, 6 * 2), ("x" * 100_000, 10_000, 1)],
    ids=["small", "usual", "larger than all chunks"],
)
async def test_parsers_that_stand_still_have_no_more_to_read_than_their_capacity(
    title: str, chunk_bytes: int, records: int
) -> None:
    """And the cutter does not wait for them in a way that no signal ends."""
    cut = 0

    def counted() -> Iterator[Piece]:
        nonlocal cut
        for piece in numbered(200_000, title):
            cut += 1
            yield piece

    async with Pool(2) as pool:
        for process in pool.processes:
            process.send_signal(signal.SIGSTOP)
        reader = PooledReader("releases", pool, chunk_bytes=chunk_bytes)
        drawn = reader.draw(counted())
        for _ in range(100):
            assert next(drawn) is PENDING
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.wait()

    assert cut == records


async def test_a_parser_that_is_killed_ends_the_file_with_a_sentence_that_names_it() -> None:
    async with Pool(2) as pool:
        first, second = pool.processes
        reader = PooledReader("releases", pool, chunk_bytes=1000)
        drawn = reader.draw(numbered(10_000))
        next(drawn)
        second.kill()

        with pytest.raises(ParserEnded) as ended:
            for piece in drawn:
                if piece is PENDING:
                    await reader.wait()

        assert str(ended.value) == (
            "parser 2 of 2 has ended, and the file was not read to its end: its process was killed by SIGKILL (as the "
            "kernel does if memory runs out)"
        )
        assert first.is_running()


async def test_no_parser_outlives_its_pool_and_no_signal_to_the_group_ends_one() -> None:
    async with Pool(3) as pool:
        processes = pool.processes
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(processes[0].pid, number)
        pieces = list(numbered(100))
        (found, _) = await read(PooledReader("releases", pool, chunk_bytes=100), iter(pieces), everything)

    assert len(found) == 100
    assert not any(process.is_running() for process in processes)


async def test_what_is_not_asked_for_is_hardly_parsed() -> None:
    """Of a load that goes on, or of which most is unchanged; and when that is over, parsers read ahead again."""
    async with Pool(2) as pool:
        reader = PooledReader("releases", pool, chunk_bytes=1000)
        found, _ = await read(reader, numbered(20_000), lambda piece: piece.offset > 10_000)

    assert len(found) == 10_000
    assert 9_000 < pool.records < 11_000


def test_what_a_parser_can_not_do_is_left_to_the_cutter(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> None:
        raise MemoryError

    assert parse("releases", release(7)).id == "7"
    assert parse("releases", b"<release/>") == Parsed(reason=SkipReason.NO_ID, text="the record has no id")
    monkeypatch.setattr("extractor.parsing.parser.read_record", fail)
    assert parse("releases", release(7)) == Parsed()


@given(sizes=st.lists(st.integers(1, 50), min_size=1))
def test_frames_may_arrive_in_any_parts(sizes: list[int]) -> None:
    # A chunk's frame looks as an answer's does whose records have only an id.
    stream = b"".join(chunk_frame([[str(number)]] * number) for number in range(4))  # type: ignore[list-item]
    buffer, answers = bytearray(), list[list[Parsed]]()

    at = 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        buffer += stream[at : at + size]
        at += size
        while (answer := take_answer(buffer)) is not None:
            answers.append(answer)

    assert answers == [[Parsed(str(number))] * number for number in range(4)]
    assert not buffer
