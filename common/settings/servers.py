"""Where a server is and how to log in: hosts, ports and URLs, whatever characters a password has."""

import ipaddress
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import SecretStr, field_validator, model_validator

from common.settings.environment import Settings
from common.settings.fields import seconds, secret, text, whole
from common.settings.secret_files import FileSecret


class Endpoint(NamedTuple):
    """Where a server listens; without scheme or port if none was given."""

    scheme: str | None
    host: str
    port: int | None


_NETLOC = re.compile(r"(?<=://)[^/?#]*")
_ENDPOINT = re.compile(r"(?:([a-z0-9+]+)://)?([\w.-]+|\[[\da-fA-F:.]+\])(?::(\d{1,5}))?/?")


def parse_endpoint(address: str) -> Endpoint:
    """Read `host`, `host:port` or `scheme://host:port`; an IPv6 address without a port may stand without brackets.

    Raises: ValueError.
    """
    if address.count(":") > 1 and "[" not in address and "/" not in address:
        address = f"[{address}]"
    match = _ENDPOINT.fullmatch(address)
    if match is None:
        raise ValueError("not an address")
    scheme, host, port = match.groups()
    if host.startswith("["):
        ipaddress.IPv6Address(host[1:-1])
    if port is not None and not 0 < int(port) < 65536:
        raise ValueError("not a port")
    return Endpoint(scheme, host, int(port) if port else None)


class ServerSettings(Settings):
    """How to reach a server and log in."""

    schemes: ClassVar[tuple[str, ...]] = ()
    """What may stand before a host."""

    host: str = text("localhost", "a host name or address, or host:port")
    port: int = whole(1, 1, 65535)
    username: str = text("", "a user name")
    password: SecretStr = secret("", "a password")
    connect_timeout: float = seconds(10.0, 0.1, 600)

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        scheme = parse_endpoint(host).scheme
        if scheme is not None and scheme not in cls.schemes:
            raise ValueError("not a host")
        return host

    @model_validator(mode="after")
    def _check_port(self) -> Self:
        named = parse_endpoint(self.host).port
        if named is not None and "port" in self.model_fields_set and named != self.port:
            host, port = self.variable("host"), self.variable("port")
            raise ValueError(f"{host} names port {named} and {port} is {self.port}; allowed is one port.")
        return self


def netloc(data: dict[str, Any]) -> str:
    """`user:password@host:port` from a server's validated fields, whatever characters they hold."""
    endpoint = parse_endpoint(data["host"])
    password = data["password"].get_secret_value()
    login = quote(data["username"], safe="") + (f":{quote(password, safe='')}" if password else "")
    return f"{login}@{endpoint.host}:{endpoint.port or data['port']}"


def check_url(url: SecretStr, schemes: Sequence[str]) -> SecretStr:
    """Pass a URL on, which must be one whenever its file is read again. Raises: ValueError if it is none."""
    check = partial(_check_parts, schemes=schemes)
    check(url.get_secret_value())
    if isinstance(url, FileSecret):
        url.accept = check
    return url


def split_url(url: str) -> SplitResult:
    """Split a URL, of which the host may be a list of hosts. Raises: ValueError."""
    found = _NETLOC.search(url)
    if found is None or "," not in found[0]:
        return urlsplit(url)
    # From Python 3.14 on urlsplit takes no brackets behind another host.
    return urlsplit(f"{url[: found.start()]}hosts{url[found.end() :]}")._replace(netloc=found[0])


def _check_parts(url: str, *, schemes: Sequence[str]) -> None:
    parts = split_url(url)
    if parts.scheme.startswith("amqp"):
        for place in places_of(parts.netloc):
            _check_place(place)
    # Reading the port checks it; a list of hosts has no single one, and tableinator reads PostgreSQL's by itself.
    if parts.scheme not in schemes or ("," not in parts.netloc and parts.port == 0):
        raise ValueError("not such a URL")


def _check_place(place: str) -> None:
    if parse_endpoint(place).scheme is not None or (place.count(":") > 1 and not place.startswith("[")):
        raise ValueError("not a host")


def places_of(netloc: str) -> list[str]:
    """`host:port` once or several times, from `user:password@host:port, host:port`."""
    return [place.strip() for place in netloc.rpartition("@")[2].split(",")]


def address_of(url: SecretStr, default_port: int) -> str:
    """A URL's hosts and ports without the login, for logs; empty if it names no host."""
    places = places_of(split_url(url.get_secret_value()).netloc)
    return ",".join(_with_port(place, default_port) for place in places)


def _with_port(place: str, default_port: int) -> str:
    has_port = ":" in place.rpartition("]")[2]
    return f"{place}:{default_port}" if place and not has_port else place
