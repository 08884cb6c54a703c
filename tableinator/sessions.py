"""How a session with PostgreSQL is made, and how each of its transactions begins.

Nothing is set for a session, everything for a transaction: behind a pooler that hands a server's session from
transaction to transaction, the next one may meet another. For the same reason a prepared statement has a name that no
other session has: with the driver's names, which every process counts from 1, a replica's rows could go into the table
of another's statement. Behind a pooler statements have no name at all.
"""

import asyncio
import secrets
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from common.errors import StartRefused
from common.network.names import Address
from common.network.reaching import addresses_of, try_each
from common.settings.certificates import make_context, settings_context
from tableinator.classification import PEER, NotHeeded, NoWriter
from tableinator.place import Place, place_of, schemas_of
from tableinator.settings import PostgresSettings

SERVICE: Final = "tableinator"
OPERATOR: Final = "spindle"
"""The names of sessions: who looks for what keeps the service busy must not find the operator's own."""

_SERVERS_SHARE: Final = 0.8
"""The server's limit for a statement, as a share of ours: the server speaks first, unless it is gone."""

_STATEMENTS: Final = 100
"""Prepared statements of a session: more than there are."""

_NEXT: Final = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    NoWriter,
)
"""After which another host may be the one."""

_FACTS: Final = """
SELECT pg_backend_pid() AS pid, current_setting('synchronous_standby_names') <> '' AS replicated,
    current_setting('search_path') AS search_path,
    pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only,
    current_setting('server_version_num')::int / 10000 AS version
"""


# A role or a database may have it off, and then what is acknowledged is lost with the server. Stronger values stay.
_DURABLE: Final = """, set_config('synchronous_commit',
CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a session is asked when it is made."""

    pooled: bool
    """Whether a pooler stands between: the process that answers is not the one that greeted us."""
    replicated: bool
    """Whether a commit waits for a standby."""
    read_only: bool
    version: int
    """The server's, such as 18."""


class Session(asyncpg.Connection):
    """A connection whose prepared statements are called as no other's are."""

    facts: Facts
    born: float
    """The loop's time."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._token = secrets.token_hex(8)
        self._is_fresh = True

    def may_be_used(self, *, since: float) -> bool:
        """Whether it was made after this moment of the loop, or has never been asked."""
        is_fresh, self._is_fresh = self._is_fresh, False
        return is_fresh or self.born > since

    def _get_unique_id(self, prefix: str) -> str:
        # The driver's own, which its types don't show; a test sees that it is asked.
        return f"spindle_{self._token}_{super()._get_unique_id(prefix)}"  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Door:
    """How to get in: read from settings and files once, but for the password."""

    place: Place
    password: Callable[[], str]
    """As it is now: its file may have been rewritten."""
    contexts: Mapping[str, tuple[ssl.SSLContext | None, ...]]
    """What is tried in turn at each host; None: without TLS."""
    timeout: float
    application: str
    """What the server shows of who this is."""


def door_of(settings: PostgresSettings, *, application: str = OPERATOR) -> Door:
    """Read the DSN and the certificates, which blocks.

    Raises: StartRefused if the DSN or a file is not what it should be.
    """
    try:
        place = place_of(settings)
    except ValueError as error:
        raise StartRefused(f"PostgreSQL can't be connected to with POSTGRES_DSN and its parts: {error}.") from error

    def password() -> str:
        try:
            return place_of(settings).password
        except ValueError:
            return place.password

    contexts = {host: _contexts(settings, place, host) for host, _ in place.hosts}
    return Door(place, password, contexts, settings.connect_timeout, application)


async def open_session(door: Door, *, named: bool = True) -> Session:
    """Log in at the first host that can be had. Without `named`, statements have no name.

    The time to connect is for all hosts, and all addresses of each, together: one that is dead leaves time for others.
    Raises: what the driver raises; TimeoutError if none answers in time.
    """

    async def attempt(host: tuple[str, int], seconds: float) -> Session:
        return await _open_host(door, *host, seconds, named=named)

    return await try_each(door.place.hosts, attempt, timeout=door.timeout, passed=_NEXT, told=(NoWriter,))


async def _open_host(door: Door, host: str, port: int, seconds: float, *, named: bool) -> Session:
    now = asyncio.get_running_loop().time
    end = now() + seconds

    async def attempt(address: Address, seconds: float) -> Session:
        async with asyncio.timeout(seconds):
            return await _open(door, host, address, named=named)

    is_socket = host.startswith("/")
    addresses = [Address(host, port)] if is_socket else await addresses_of(host, port, timeout=seconds)
    return await try_each(addresses, attempt, timeout=end - now(), passed=_NEXT, told=(NoWriter,))


async def _open(door: Door, host: str, address: Address, *, named: bool) -> Session:
    session = await _log_in(door, host, address, named=named)
    try:
        session.born = asyncio.get_running_loop().time()
        session.facts = await _prepare(session, door.place)
    except BaseException:
        session.terminate()
        raise
    if door.place.must_write and session.facts.read_only:
        session.terminate()
        raise NoWriter(f"{host}:{address.port} is read-only")
    if named and session.facts.pooled:
        session.terminate()
        return await _open(door, host, address, named=False)
    return session


async def _log_in(door: Door, host: str, address: Address, *, named: bool) -> Session:
    *others, last = door.contexts[host]
    for context in others:
        try:
            return await _connect(door, address, context, named=named)
        except (ConnectionError, asyncpg.InvalidAuthorizationSpecificationError) as error:
            # As libpq does it: a server without TLS, or one that lets this login in only without.
            if isinstance(error, asyncpg.InvalidPasswordError) or not _is_about_tls(error):
                raise
    return await _connect(door, address, last, named=named)


def _is_about_tls(error: Exception) -> bool:
    return isinstance(error, asyncpg.PostgresError) or "rejected SSL upgrade" in str(error)


async def _connect(door: Door, address: Address, context: ssl.SSLContext | None, *, named: bool) -> Session:
    """Connect with nothing left for the driver to look up in the environment or in HOME."""
    place = door.place
    session: Session = await asyncpg.connect(
        host=address.host,
        port=address.port,
        user=place.user,
        password=door.password,
        database=place.database,
        ssl=context or False,
        direct_tls=False,
        target_session_attrs=SessionAttribute.any,
        krbsrvname="postgres",
        gsslib="gssapi",
        server_settings={"application_name": door.application, **place.session},
        timeout=door.timeout,
        statement_cache_size=_STATEMENTS if named else 0,
        connection_class=Session,
    )
    return session


async def _prepare(session: Session, place: Place) -> Facts:
    """Let jsonb take and give bytes, and ask what must be known. In one transaction: behind a pooler, on one server.

    A message's body goes in as it came. jsonb's binary form is a 1, then the text.
    Raises: NotHeeded.
    """
    greeted_by = session.get_server_pid()
    await session.execute("BEGIN")
    await session.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda body: b"\x01" + body,
        decoder=lambda value: bytes(value[1:]),
        format="binary",
    )
    [found] = await session.fetch(_FACTS)
    if place.schemas and place.schemas != schemas_of(found["search_path"]):
        raise NotHeeded(f"search_path is {found['search_path']}")
    await session.execute("ROLLBACK")
    return Facts(found["pid"] != greeted_by, found["replicated"], found["read_only"], found["version"])


def beginning(settings: PostgresSettings) -> str:
    """The statement that begins a transaction that writes: one round trip, whatever it sets."""
    limit = round(settings.command_timeout * _SERVERS_SHARE * 1000)  # the server counts milliseconds
    values = {
        "statement_timeout": f"{limit}",
        # Waiting for another's lock is no reason to take fewer records: it ends before the statement's own limit, as a
        # conflict.
        "lock_timeout": f"{limit // 2}",
        # A client that was lost in the middle of a transaction must not hold its locks forever.
        "idle_in_transaction_session_timeout": f"{limit * 2}",
        # The look-up's plan is made while the table is small and kept while it grows by a million rows a minute: it
        # must never be a scan of the table.
        "enable_seqscan": "off",
    }
    # The level is said, because a database may have another default, under which every race would be an error.
    return "BEGIN ISOLATION LEVEL READ COMMITTED; " + _set(values) + _DURABLE


def beginning_to_read(settings: PostgresSettings) -> str:
    """The statement that begins a scan of whole tables, which sees one moment."""
    limit = round(settings.command_timeout * _SERVERS_SHARE * 1000)
    return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " + _set(
        {"statement_timeout": f"{limit}", "enable_seqscan": "on", "idle_in_transaction_session_timeout": "0"}
    )


def _set(values: Mapping[str, str]) -> str:
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in values.items())


def _contexts(settings: PostgresSettings, place: Place, host: str) -> tuple[ssl.SSLContext | None, ...]:
    """How to speak to a host, by POSTGRES_TLS, or by the DSN if that is not set."""
    if context := settings_context(settings, PEER):
        return (_for(host, context),)
    if place.tls == "disable":
        return (None,)
    context = _for(host, _context(place))
    return {"allow": (None, context), "prefer": (context, None)}.get(place.tls, (context,))


def _context(place: Place) -> ssl.SSLContext:
    verify = place.tls.startswith("verify") or bool(place.authorities)
    context = make_context(
        PEER,
        authorities={"cafile": place.authorities or None},
        certificate=place.certificate,
        key=place.key,
        verify=verify,
    )
    if place.tls != "verify-full":
        context.check_hostname = False
    return context


def _for(host: str, context: ssl.SSLContext) -> ssl.SSLContext:
    """Have certificates checked for the host's name. The driver is given an address, and would check them for that."""
    wrap = context.wrap_bio

    def wrap_for_host(
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return wrap(incoming, outgoing, server_side, host, session)

    context.wrap_bio = wrap_for_host  # type: ignore[method-assign]  # of this one object, which is ours
    return context
