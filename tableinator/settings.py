"""What tableinator reads from its environment."""

from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from common.kinds import Service
from common.settings.fields import seconds, text, whole
from common.settings.programs import ConsumerProgramSettings
from common.settings.secret_files import DerivedSecret
from common.settings.servers import address_of, check_url, netloc
from common.settings.stores import StoreSettings


def _dsn(data: dict[str, Any]) -> SecretStr:
    return DerivedSecret(partial(_dsn_of, dict(data)))


def _dsn_of(parts: dict[str, Any]) -> str:
    return f"postgresql://{netloc(parts)}/{quote(parts['database'], safe='')}"


class PostgresSettings(StoreSettings):
    """How to reach PostgreSQL and write to it. The DSN, if it is given, replaces the parts."""

    store_name: ClassVar[str] = "PostgreSQL"

    model_config = SettingsConfigDict(env_prefix="POSTGRES_")

    port: int = whole(5432, 1, 65535)
    username: str = text("spindle", "a user name")
    database: str = text("spindle", "the name of a database")
    writers: int = whole(2, 1, 64)
    """Per kind."""
    command_timeout: float = seconds(60.0, 0.1, 3600)
    dsn: SecretStr = Field(
        default_factory=_dsn,
        description="postgresql://user:password@host:port/database, special characters percent-encoded",
    )

    @field_validator("dsn")
    @classmethod
    def _check_dsn(cls, dsn: SecretStr) -> SecretStr:
        return check_url(dsn, ("postgresql", "postgres"))

    @property
    def address(self) -> str:
        """Host and port, for logs."""
        return address_of(self.dsn, 5432) or "a local socket"


class TableinatorSettings(ConsumerProgramSettings):
    """What tableinator reads."""

    service: ClassVar[Service] = Service.TABLEINATOR

    postgres: PostgresSettings = PostgresSettings()
    metrics_port: int = whole(8002, 0, 65535)

    @property
    def store(self) -> PostgresSettings:
        """The settings of the service's store."""
        return self.postgres
