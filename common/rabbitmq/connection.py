"""Connect to the broker, plainly: one connection, its life and its end, with errors in the runtime's words.

No robust connection: who owns one decides when to connect again, and what has expired by then.
"""

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urlunsplit

import aiormq.connection
import pamqp.frame
import structlog
from aiormq.exceptions import AMQPConnectionError, AMQPError, ConnectionClosed
from pamqp import commands
from pydantic import SecretStr
from yarl import URL

from common.errors import BrokerUnavailable, StartRefused
from common.network.failures import LOST, in_words
from common.network.names import Address
from common.network.reaching import addresses_of, try_each
from common.rabbitmq import lenient_pamqp, tls
from common.rabbitmq.frames import FRAME_MAX
from common.settings.programs import BrokerSettings
from common.settings.servers import address_of, places_of, split_url

log = structlog.get_logger()

# What aiormq has to say arrives here as exceptions too, and is logged once, in our words.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)

CLOSE_TIMEOUT = 3.0
"""Seconds for a polite goodbye; after it the socket is cut, and the broker takes back what is unsettled anyway."""

ANSWER_TIMEOUT = 30.0
"""Seconds for the broker to answer one request: declaring a quorum queue on a busy cluster takes several."""


class _HandshakeRefused(ConnectionClosed):
    """The broker closed the connection while it was being opened."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


class Stream(asyncio.StreamReader):
    """A stream whose end is always an error: aiormq takes one that comes between two frames for an end that it has
    asked for."""

    def at_eof(self) -> bool:
        """What aiormq asks before each frame. Reading on raises, as it should."""
        return False


class _GatedReader(Stream):
    """A stream that can be left unread. What piles up behind the gate pauses the socket, as it always does.

    Pausing the transport instead does not last: a stream that had paused it resumes it as soon as it has room.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.gate = asyncio.Event()
        self.gate.set()

    async def readexactly(self, n: int) -> bytes:
        if not self.gate.is_set():
            await self.gate.wait()
        return await super().readexactly(n)


class StreamEnd(asyncio.StreamReaderProtocol):
    """The socket's end of aiormq's stream."""

    greeting = b""
    """What the first read has brought."""
    has_ended = False
    """Whether nothing more will come: the stream takes nothing more either."""

    def data_received(self, data: bytes) -> None:
        """The transport's call: one socket read."""
        self.greeting = self.greeting or data
        super().data_received(data)

    def eof_received(self) -> bool | None:
        """The transport's call."""
        self.has_ended = True
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport's call."""
        self.has_ended = True
        super().connection_lost(exc)


class Transports(aiormq.connection.TransportFactory):
    """Open sockets as aiormq does, and remember the last: pausing and cutting it are not offered otherwise."""

    place: Address | None = None
    """The one of the host's addresses to go to."""
    transport: asyncio.Transport | None = None
    stream_end: StreamEnd | None = None
    gate: asyncio.Event | None = None
    """Set while aiormq may read; None if something else reads the deliveries."""

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = _GatedReader(loop)
        self.gate = reader.gate
        return reader, await self._open(url, reader, StreamEnd(reader, loop=loop), **options)

    async def _open(
        self, url: URL, reader: asyncio.StreamReader, stream_end: StreamEnd, *, ssl_context_provider: Any
    ) -> asyncio.StreamWriter:
        files: aiormq.abc.SSLCerts = ssl_context_provider._ssl_certs
        context = await asyncio.to_thread(tls.context_of, files) if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        name = url.host or ""
        host, port = self.place or (name, url.port or 0)  # aiormq has seen to the port
        checked = name if context else None
        try:
            transport, _ = await loop.create_connection(
                lambda: stream_end, host, port, ssl=context, server_hostname=checked
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self.transport, self.stream_end = transport, stream_end
        return asyncio.StreamWriter(transport, stream_end, reader, loop)


class Connection(aiormq.connection.Connection):
    """A connection that knows its broker's version, and whether the broker blocks publishing on it."""

    def __init__(self, url: URL, address: str, transports: Transports | None = None) -> None:
        self._transports = transports or Transports()
        super().__init__(url, transport_factory=self._transports)
        self.address = address
        self.unblocked = asyncio.Event()
        """Set unless the broker blocks publishing (memory or disk alarm); set for good when the connection ends."""
        self.unblocked.set()
        self.blockings = 0
        """How often the broker has begun, or ended, to block publishing."""
        self.closing.add_done_callback(lambda _: self.unblocked.set())

    @property
    def broker_version(self) -> tuple[int, ...]:
        """`(3, 10, 8)`."""
        return tuple(int(part) for part in re.findall(r"\d+", str(self.server_properties.get("version", "0")))[:3])

    @property
    def greeting(self) -> bytes:
        """What the peer, a broker or not, has said first."""
        stream_end = self._transports.stream_end
        return stream_end.greeting if stream_end is not None else b""

    def go_to(self, place: Address) -> None:
        """Connect there, whatever other addresses the host has. A certificate is still that of the host's name."""
        self._transports.place = place

    def pause_reading(self) -> None:
        """Leave what the broker sends in the socket, heartbeats included. May be called again at any time."""
        transport, gate = self._transports.transport, self._transports.gate
        if gate is not None:
            gate.clear()
        elif transport is not None and transport.is_reading():
            transport.pause_reading()

    def resume_reading(self) -> None:
        """Read the socket again."""
        transport, gate = self._transports.transport, self._transports.gate
        if gate is not None:
            gate.set()
        elif transport is not None and not transport.is_closing():
            transport.resume_reading()

    def cut(self) -> None:
        """Drop the socket without a word."""
        if self._transports.transport is not None:
            self._transports.transport.abort()

    @staticmethod
    async def _rpc(
        request: Any,
        writer: asyncio.StreamWriter,
        frame_receiver: aiormq.connection.FrameReceiver,
        wait_response: bool = True,
    ) -> Any:
        # aiormq reports a vhost that can't be opened as an invalid frame, without the broker's reason.
        writer.write(pamqp.frame.marshal(request, 0))
        await writer.drain()
        if not wait_response:
            return None
        _, _, frame = await frame_receiver.get_frame()
        if isinstance(frame, commands.Connection.Close):
            raise _HandshakeRefused(frame.reply_code or 0, frame.reply_text or "")
        if isinstance(frame, commands.Connection.Tune) and not frame.frame_max:
            frame.frame_max = FRAME_MAX  # 0 leaves the limit to us, and the answer sets it for both sides
        return frame

    # aiormq handles connection.blocked in private methods and tells nobody: their mangled names are the only seam.
    async def _Connection__handle_connection_blocked(self, frame: commands.Connection.Blocked) -> None:
        await super()._Connection__handle_connection_blocked(frame)  # type: ignore[misc]
        self.unblocked.clear()
        self.blockings += 1
        log.warning("Broker blocks publishing", reason=frame.reason)

    async def _Connection__handle_connection_unblocked(self, frame: commands.Connection.Unblocked) -> None:
        await super()._Connection__handle_connection_unblocked(frame)  # type: ignore[misc]
        self.unblocked.set()
        self.blockings += 1
        log.info("Broker takes messages again")


async def connect(broker: BrokerSettings, *, name: str, make: type[Connection] = Connection) -> Connection:
    """Open a connection; `name` is how the broker's management shows it. `make`: the class of connection.

    If the URL names several hosts, they are tried in random order; the addresses of one as they answer. The time to
    connect is for all of them together.
    Raises: BrokerUnavailable if waiting may help, StartRefused if only a person can.
    """
    lenient_pamqp.install()
    return await try_each(
        addresses(broker.url),
        partial(_connect_to_host, broker, name, make),
        timeout=broker.connect_timeout,
        passed=(BrokerUnavailable,),
    )


def addresses(url: SecretStr) -> list[SecretStr]:
    """Each host of a URL that names one or several (`host:port, host:port`) as a URL of its own, in random order.

    At random, so that the replicas that lose one node don't all go to the same other one.
    """
    parts = split_url(url.get_secret_value())
    login, at, _ = parts.netloc.rpartition("@")
    urls = [urlunsplit(parts._replace(netloc=f"{login}{at}{place}")) for place in places_of(parts.netloc)]
    return [SecretStr(each) for each in random.sample(urls, len(urls))]


async def _connect_to_host(
    broker: BrokerSettings, name: str, make: type[Connection], url: SecretStr, seconds: float
) -> Connection:
    now = asyncio.get_running_loop().time
    end = now() + seconds
    port = 5671 if broker.has_tls else 5672
    parts = split_url(url.get_secret_value())
    address = address_of(url, port)
    with broker_errors(address):
        places = await addresses_of(parts.hostname or "", parts.port or port, timeout=seconds)

    async def attempt(place: Address, seconds: float) -> Connection:
        connection = make(_url_of(broker, url, name), f"{address} ({place.host})" if len(places) > 1 else address)
        connection.go_to(place)
        await _connect(connection, seconds)
        return connection

    return await try_each(places, attempt, timeout=end - now(), passed=(BrokerUnavailable,))


def _url_of(broker: BrokerSettings, url: SecretStr, name: str) -> URL:
    options = {"heartbeat": str(broker.heartbeat), "name": name, **tls.options_of(broker)}
    return URL(url.get_secret_value()).update_query(options)


async def _connect(connection: Connection, seconds: float) -> None:
    # A cancelled attempt waits for the peer's part of closing TLS, which a silent peer never plays: hence the cut.
    cutting = asyncio.get_running_loop().call_later(seconds + 1.0, connection.cut)
    try:
        with broker_errors(connection.address):
            async with asyncio.timeout(seconds):
                await connection.connect()
    except BrokerUnavailable as error:
        if tls.is_alert(connection.greeting):
            raise tls.expects_tls(connection.address) from error
        raise
    finally:
        cutting.cancel()


@asynccontextmanager
async def connected(
    broker: BrokerSettings, *, name: str, make: type[Connection] = Connection
) -> AsyncIterator[Connection]:
    """Hold a connection for as long as the block lasts; `make` may give one of another class."""
    connection = await connect(broker, name=name, make=make)
    try:
        yield connection
    finally:
        await close(connection)


@asynccontextmanager
async def borrowed(broker: BrokerSettings | Connection, *, name: str) -> AsyncIterator[Connection]:
    """Use an open connection, or one for the block alone."""
    if isinstance(broker, Connection):
        yield broker
    else:
        async with connected(broker, name=name) as connection:
            yield connection


async def close(connection: Connection) -> None:
    """Say goodbye; hang up if the broker does not answer, or if our own task is being cancelled."""
    if _is_cancelled():
        connection.cut()
        return
    try:
        with suppress(BrokerUnavailable), broker_errors(connection.address):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await connection.close()
    finally:
        connection.cut()


@contextmanager
def broker_errors(address: str, *passed: type[Exception]) -> Iterator[None]:
    """Translate whatever goes wrong on a connection, but for the classes that are to be passed on.

    Raises: BrokerUnavailable, StartRefused.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        # aiormq tells all who wait on a connection of its end, also by a cancellation that nobody asked for.
        if _is_cancelled():
            raise
        raise BrokerUnavailable(f"RabbitMQ at {address}: connection closed") from error
    except Exception as error:
        if not _is_foreign(error):
            raise
        # The other way round: of a cancellation and an error that arrive together, aiormq keeps the error.
        if _is_cancelled():
            raise asyncio.CancelledError from error
        if isinstance(error, passed):
            raise
        raise _translated(address, error) from error


def _is_foreign(error: Exception) -> bool:
    """Whether it is the client library's or the network's. A bare `Exception` is what aiormq tells whoever waits on a
    connection that was closed on purpose."""
    return isinstance(error, AMQPError | OSError | RuntimeError) or type(error) is Exception


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _translated(address: str, error: Exception) -> BrokerUnavailable | StartRefused:
    if isinstance(error, TimeoutError):
        return BrokerUnavailable(f"RabbitMQ at {address}: no answer in time")
    if type(error) is Exception or isinstance(error.__cause__, asyncio.IncompleteReadError):
        return BrokerUnavailable(f"RabbitMQ at {address}: connection closed")
    if isinstance(error, _HandshakeRefused) and error.code == 403:
        return StartRefused(
            f"RabbitMQ at {address} refused the login; check RABBITMQ_USERNAME and RABBITMQ_PASSWORD, or RABBITMQ_URL; "
            "with RABBITMQ_AUTH=external RABBITMQ_TLS_CERT_FILE, and that there is a user of that name."
        )
    # 530 is also the answer to one connection too many, which passes.
    if isinstance(error, _HandshakeRefused) and error.code == 530 and "limit" not in error.text:
        return StartRefused(
            f"RabbitMQ at {address} refused the virtual host ({error.text}); check RABBITMQ_VHOST, or RABBITMQ_URL, "
            "and the user's permissions."
        )
    return tls.explained(error, address) or BrokerUnavailable(f"RabbitMQ at {address}: {_reason(error)}")


def _reason(error: Exception) -> str:
    """In our words, else the error's last argument: codes come before it, and it holds no secret."""
    return in_words(error) or (str(error.args[-1]) if error.args else "") or LOST
