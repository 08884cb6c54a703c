"""What graphinator reads from its environment."""

from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from common.kinds import Service
from common.settings.fields import seconds, text, whole
from common.settings.programs import ConsumerProgramSettings
from common.settings.servers import parse_endpoint
from common.settings.stores import StoreSettings

_SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")


def _uri(data: dict[str, Any]) -> str:
    endpoint = parse_endpoint(data["host"])
    # Not neo4j://, which asks the server for its own address: one behind a port mapping doesn't know it.
    return f"{endpoint.scheme or 'bolt'}://{endpoint.host}:{endpoint.port or data['port']}"


class Neo4jSettings(StoreSettings):
    """How to reach Neo4j and write to it. The URI, if it is given, replaces host and port."""

    store_name: ClassVar[str] = "Neo4j"

    model_config = SettingsConfigDict(env_prefix="NEO4J_")

    schemes: ClassVar[tuple[str, ...]] = _SCHEMES

    host: str = text("localhost", "a host name or address, host:port, or a URI such as bolt://host:7687")
    port: int = whole(7687, 1, 65535)
    username: str = text("neo4j", "a user name")
    database: str = text("neo4j", "the name of a database")
    writers: int = whole(2, 1, 64)
    """For the whole service; all of one kind, see `kind_lock.py`."""
    transaction_timeout: float = seconds(60.0, 0.1, 3600)
    uri: str = Field(
        default_factory=_uri,
        description="bolt://host:port or neo4j://host:port (+s or +ssc for TLS), without user and password",
    )

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str) -> str:
        if parse_endpoint(uri).scheme not in _SCHEMES:
            raise ValueError("not a bolt URI")
        return uri

    @property
    def has_tls(self) -> bool:
        """Also if the URI asks for it, by its scheme."""
        return self.tls or "+" in self.uri

    @model_validator(mode="after")
    def _check_scheme(self) -> Self:
        # A scheme with TLS has the driver's own context: those that this machine trusts, or (+ssc) anyone.
        given = {name: getattr(self, name) for name in ("tls", "tls_ca_file", "tls_cert_file", "tls_key_file")}
        beside = [name for name in given if given[name]] + ([] if self.tls_verify else ["tls_verify"])
        if "+" in self.uri and beside:
            scheme = self.uri.partition("://")[0]
            raise ValueError(
                f"{self.variable(beside[0])} is set and {self.variable('uri')} is {scheme}://…; "
                f"allowed is {scheme.partition('+')[0]}:// with {self.variable('tls')}=true."
            )
        return self

    @property
    def auth(self) -> tuple[str, str] | None:
        """What to log in with now; None if no password is set, for a server without authentication."""
        password = self.password.get_secret_value()
        return (self.username, password) if password else None

    @property
    def address(self) -> str:
        """Host and port, for logs."""
        return self.uri.partition("://")[2].rstrip("/")


class GraphinatorSettings(ConsumerProgramSettings):
    """What graphinator reads."""

    service: ClassVar[Service] = Service.GRAPHINATOR

    neo4j: Neo4jSettings = Neo4jSettings()
    metrics_port: int = whole(8001, 0, 65535)

    @property
    def store(self) -> Neo4jSettings:
        """The settings of the service's store."""
        return self.neo4j
