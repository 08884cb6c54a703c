"""Where PostgreSQL is and who we are there, as the DSN says it. Pure.

The driver reads a DSN too, and fills what is missing from the environment and from files in HOME. Here everything is
said to it, so that `PG…` variables, `~/.pgpass` and `~/.postgresql` decide nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from tableinator.settings import PostgresSettings

SOCKETS: Final = ("/run/postgresql", "/var/run/postgresql", "/tmp", "localhost")  # noqa: S108 - where a server has them
"""Where a server of this machine is, for a DSN without host."""

TLS_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_SEARCH_PATH: Final = re.compile(r"(?:-c\s*|--)search[_-]path=((?:\\.|\S)*)", re.IGNORECASE)

_WANTED: Final = ("any", "read-write", "primary")

_NOT_READ: Final = frozenset(
    {"service", "servicefile", "passfile", "sslpassword", "sslcrl", "sslnegotiation", "krbsrvname", "gsslib"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version"}
)
"""What the driver knows and we don't: better refused than passed over."""


@dataclass(frozen=True, slots=True)
class Place:
    """Servers to try one after the other, a login, and how to speak there."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str
    database: str
    tls: str
    """One of TLS_MODES."""
    authorities: str
    certificate: str
    key: str
    must_write: bool
    """Whether a server that is read-only is not the right one."""
    session: Mapping[str, str]
    """What the DSN sets for the session, such as search_path."""

    @property
    def schemas(self) -> list[str]:
        """The search_path that the DSN sets, also by `options=-c search_path=…`; empty if it sets none."""
        by_options = _SEARCH_PATH.findall(self.session.get("options", ""))
        said = self.session.get("search_path") or "".join(by_options[-1:]).replace("\\", "")
        return schemas_of(said) if said else []


def schemas_of(search_path: str) -> list[str]:
    """The schemas that a search_path names, in order, without their quotes."""
    return [name.strip().strip('"') for name in search_path.split(",")]


def place_of(settings: PostgresSettings) -> Place:
    """Read the DSN.

    Raises: ValueError with what is wrong in it; never with the password.
    """
    parts = urlsplit(settings.dsn.get_secret_value())
    said = _parameters(parts.query)
    if odd := sorted(_NOT_READ & set(said)):
        raise ValueError(f"{odd[0]} is not read here; see .env.example for what is")
    login, _, netloc = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    user = said.pop("user", unquote(user))
    hosts = _hosts(said.pop("host", unquote(netloc)), said.pop("port", ""))
    database = unquote(parts.path.removeprefix("/"))
    return Place(
        hosts=hosts,
        user=user or settings.username,
        password=said.pop("password", unquote(password)),
        database=said.pop("dbname", said.pop("database", database)) or user or settings.database,
        tls=_chosen("sslmode", said.pop("sslmode", "prefer"), TLS_MODES),
        authorities=said.pop("sslrootcert", ""),
        certificate=said.pop("sslcert", ""),
        key=said.pop("sslkey", ""),
        must_write=_must_write(said.pop("target_session_attrs", ""), several=len(hosts) > 1),
        session=said,
    )


def _parameters(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, strict_parsing=True)) if query else {}
    except ValueError:
        # Not the parser's own words: a password with a ? in it would be in them.
        raise ValueError("what follows its ? is not name=value&name=value, percent-encoded") from None


def _hosts(hosts: str, ports: str) -> tuple[tuple[str, int], ...]:
    """Read `a,b:5433,[::1]:5432`; ports may stand apart, one for all or one for each."""
    names = hosts.split(",") if hosts else list(SOCKETS)
    numbers = ports.split(",") if ports else ["5432"]
    if len(numbers) not in (1, len(names)):
        raise ValueError(f"it has {len(names)} hosts and {len(numbers)} ports; allowed is one port, or one for each")
    numbers = numbers * len(names) if len(numbers) == 1 else numbers
    return tuple(_host(name.strip(), number) for name, number in zip(names, numbers, strict=True))


def _host(name: str, number: str) -> tuple[str, int]:
    is_bare_ipv6 = name.count(":") > 1 and "[" not in name
    if not name.startswith("/") and not is_bare_ipv6 and ":" in name.rpartition("]")[2]:
        name, _, number = name.rpartition(":")
    if not name or not number.isdecimal() or not 0 < int(number) < 65536:
        # Unnamed: what stands there may be part of a password that is not percent-encoded.
        raise ValueError("one of its hosts is no host with a port from 1 to 65535; a password is percent-encoded")
    return name.strip("[]"), int(number)


def _must_write(wanted: str, *, several: bool) -> bool:
    """Who names several hosts and nothing else means the one that takes writes: a standby would take none."""
    return _chosen("target_session_attrs", wanted or ("read-write" if several else "any"), _WANTED) != "any"


def _chosen(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed is {', '.join(allowed)}")
    return value
