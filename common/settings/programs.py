"""The settings that more than one program has: the broker, a store, and what every consumer needs."""

import re
from abc import abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from common.backoff import DEFAULT, Backoff, Jitter, Strategy
from common.kinds import DEFAULT_PREFIX, KINDS, Names, Service
from common.settings.environment import Settings
from common.settings.fields import Lower, choice, seconds, secret, selection, share, size, split, text, whole
from common.settings.secret_files import DerivedSecret
from common.settings.servers import address_of, check_url, netloc, split_url
from common.settings.stores import StoreSettings
from common.settings.tls import TlsSettings


def _known_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    if not kinds or not set(kinds) <= set(KINDS):
        raise ValueError("unknown kind")
    return kinds


def _usable_prefix(prefix: str) -> str:
    # 102 leaves room for what `Names` appends: the client ends names at 127 characters. "amq." is the broker's own.
    if not re.fullmatch(r"(?!amq\.)[A-Za-z0-9._:-]{1,102}", prefix):
        raise ValueError("not a prefix")
    return prefix


def _expressible_vhost(vhost: str) -> str:
    # A URL takes the first two for folders, and aiormq decodes the third twice.
    if vhost in (".", "..") or "%2F" in vhost:
        raise ValueError("a URL can't say it")
    return vhost


Kinds = Annotated[tuple[str, ...], BeforeValidator(split), AfterValidator(_known_kinds)]


class LogFormat(StrEnum):
    """How a log line looks."""

    LOGFMT = "logfmt"
    CONSOLE = "console"
    JSON = "json"


def _amqp_url(data: dict[str, Any]) -> SecretStr:
    return DerivedSecret(partial(_amqp_url_of, dict(data)))  # no lambda: settings are given to worker processes


def _amqp_url_of(parts: dict[str, Any]) -> str:
    scheme = "amqps" if parts["tls"] else "amqp"
    return f"{scheme}://{netloc(parts)}/{quote(parts['vhost'], safe='')}"


class BrokerSettings(TlsSettings):
    """How to reach RabbitMQ. The URL, if it is given, replaces the parts."""

    model_config = SettingsConfigDict(env_prefix="RABBITMQ_")

    port: int = whole(5672, 1, 65535)
    username: str = text("guest", "a user name")
    password: SecretStr = secret("guest", "a password")
    vhost: Annotated[str, AfterValidator(_expressible_vhost)] = text(
        "/", "the name of a virtual host, not . or .., without %2F"
    )
    auth: Annotated[Literal["plain", "external"], Lower] = choice("plain", ("plain", "external"))
    """`external`: the certificate is the login."""
    heartbeat: int = whole(30, 1, 3600)
    """Seconds."""
    url: SecretStr = Field(
        default_factory=_amqp_url,
        description="amqp://user:password@host:port/vhost or amqps://…, special characters percent-encoded; "
        "several hosts as host:port,host:port",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        return check_url(url, ("amqp", "amqps"))

    @property
    def address(self) -> str:
        """Host and port, for logs."""
        return address_of(self.url, 5671 if self.has_tls else 5672)

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted."""
        return split_url(self.url.get_secret_value()).scheme == "amqps"

    @model_validator(mode="after")
    def _check_auth(self) -> Self:
        if self.auth == "external" and not self.tls_cert_file:
            auth, certificate = self.variable("auth"), self.variable("tls_cert_file")
            raise ValueError(f"{auth} is external without a certificate; allowed is {certificate} beside it.")
        return self

    @model_validator(mode="after")
    def _check_scheme(self) -> Self:
        if self.tls and not self.has_tls:
            tls, url = self.variable("tls"), self.variable("url")
            raise ValueError(f"{tls} is true and {url} is amqp://…; allowed is amqps://….")
        return self


class ProgramSettings(Settings):
    """What every program reads."""

    broker: BrokerSettings = BrokerSettings()
    discogs_exchange_prefix: Annotated[str, AfterValidator(_usable_prefix)] = text(
        DEFAULT_PREFIX,
        "1 to 102 letters, digits, dots, colons, dashes and underscores, not beginning with amq.",
    )
    kinds: Kinds = selection(KINDS, KINDS)
    drain_limit: float = seconds(8.0, 0.1, 3600)
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lower] = choice(
        "info", ("debug", "info", "warning", "error")
    )
    log_format: Annotated[LogFormat, Lower] | None = choice(None, list(LogFormat))
    """None: console on a terminal, logfmt elsewhere."""

    @property
    def names(self) -> Names:
        """The names of exchanges and queues."""
        return Names(self.discogs_exchange_prefix)


class StateSettings(ProgramSettings):
    """What a program reads that works on loads."""

    spindle_state: str = text("", "a folder for manifests; empty for none")

    @property
    def state(self) -> Path | None:
        """The folder that holds a manifest of every load and kind."""
        return Path(self.spindle_state) if self.spindle_state else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """What the runtime must know, whichever store is behind it. Durations are seconds, sizes bytes."""

    service: Service
    broker: BrokerSettings
    source: Literal["aio-pika", "fast"]
    names: Names
    kinds: tuple[str, ...]
    batch_size: int
    message_max_bytes: int
    batch_max_bytes: int
    flush_interval: float
    batch_target: float | None
    writers: int
    prefetch: int
    source_max_bytes: int
    drain_limit: float
    hold_limit: float
    backoff: Backoff
    metrics_host: str
    metrics_port: int
    dead_letter_flood: Literal["hold", "allow"]
    store_name: str
    tracing_ratio: float | None
    """The share of batches of which spans are made; None: of none, tracing is off."""


class ConsumerProgramSettings(ProgramSettings):
    """What every consumer reads; a service adds its store."""

    service: ClassVar[Service]

    rabbitmq_source: Annotated[Literal["aio-pika", "fast"], Lower] = choice("fast", ("fast", "aio-pika"))

    message_max_bytes: ByteSize = size("16MiB", "1KiB", "1GiB")
    batch_max_bytes: ByteSize = size("8MiB", "1KiB", "1GiB")
    source_max_bytes: ByteSize = size("64MiB", "1KiB", "16GiB")
    hold_limit: float = seconds(900.0, 60, 86400)
    """Well above the half minute that a suspect needs for its verdict: handed back before, it would never get one."""
    # Less would spin, and more would miss the return of a store for longer than a person waits.
    retry_strategy: Annotated[Strategy, Lower] = choice(DEFAULT.strategy, list(Strategy))
    retry_jitter: Annotated[Jitter, Lower] = choice(DEFAULT.jitter, list(Jitter))
    retry_base: float = seconds(DEFAULT.base, 0.05, 60)
    retry_cap: float = seconds(DEFAULT.cap, 0.05, 60)
    metrics_host: str = text("0.0.0.0", "an address of this machine")  # noqa: S104 - what scrapes is outside
    metrics_port: int = whole(8000, 0, 65535)
    dead_letter_flood: Annotated[Literal["hold", "allow"], Lower] = choice("hold", ("hold", "allow"))
    # Where spans go, and how, say the variables of OpenTelemetry's own (OTEL_…), which its SDK reads.
    tracing: Annotated[Literal["off", "otlp"], Lower] = choice("off", ("off", "otlp"))
    tracing_ratio: float = share(0.1)

    @property
    @abstractmethod
    def store(self) -> StoreSettings:
        """The settings of the service's store."""

    @model_validator(mode="after")
    def _check_bytes(self) -> Self:
        # The source would stop reading before a batch could ever close by its bytes.
        if self.source_max_bytes < self.batch_max_bytes:
            raise ValueError(
                f"SOURCE_MAX_BYTES is {self.source_max_bytes:d}, below BATCH_MAX_BYTES; "
                f"allowed is {self.batch_max_bytes:d} or more."
            )
        return self

    @model_validator(mode="after")
    def _check_retry(self) -> Self:
        if self.retry_base > self.retry_cap:
            raise ValueError(
                f"RETRY_BASE is {self.retry_base:g}, above RETRY_CAP; allowed is up to {self.retry_cap:g}, "
                f"or a RETRY_CAP of {self.retry_base:g} or more."
            )
        return self

    @property
    def backoff(self) -> Backoff:
        """How long to wait before trying again."""
        return Backoff(self.retry_strategy, self.retry_jitter, self.retry_base, self.retry_cap)

    @property
    def consumer(self) -> ConsumerSettings:
        """The view that the runtime takes."""
        return ConsumerSettings(
            service=self.service,
            broker=self.broker,
            source=self.rabbitmq_source,
            names=self.names,
            kinds=self.kinds,
            batch_size=self.store.batch_size,
            message_max_bytes=self.message_max_bytes,
            batch_max_bytes=self.batch_max_bytes,
            flush_interval=self.store.batch_flush_interval,
            batch_target=self.store.batch_target,
            writers=self.store.writers,
            prefetch=self.store.prefetch,
            source_max_bytes=self.source_max_bytes,
            drain_limit=self.drain_limit,
            hold_limit=self.hold_limit,
            backoff=self.backoff,
            metrics_host=self.metrics_host,
            metrics_port=self.metrics_port,
            dead_letter_flood=self.dead_letter_flood,
            store_name=self.store.store_name,
            tracing_ratio=self.tracing_ratio if self.tracing == "otlp" else None,
        )
