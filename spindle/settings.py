"""What the operator's commands read from their environment beyond the services' own variables."""

from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from common.kinds import Service
from common.settings.fields import secret, split, text, whole
from common.settings.programs import BrokerSettings, StateSettings
from common.settings.servers import parse_endpoint
from graphinator.settings import GraphinatorSettings
from tableinator.settings import TableinatorSettings

MANAGEMENT_PORT = 15672
_PORTS = {
    service.service: service.model_fields["metrics_port"].default
    for service in (GraphinatorSettings, TableinatorSettings)
}


def _places(value: object) -> object:
    words = split(value)
    return () if words == ("none",) else words


Places = Annotated[tuple[str, ...], BeforeValidator(_places)]


def _places_of(service: Service) -> Any:
    # The service's name is its address within compose, and within Kubernetes, for all replicas together.
    return Field((f"{service}:{_PORTS[service]}",), description="host:port, several separated by commas, or none")


class OperatorSettings(StateSettings):
    """Where the services and the broker's management are."""

    rabbitmq_management_url: str = Field(
        default_factory=lambda data: _management_url(data["broker"]),
        description="http://host:port or https://host:port, without user and password, or none",
    )
    status_graphinator: Places = _places_of(Service.GRAPHINATOR)
    status_tableinator: Places = _places_of(Service.TABLEINATOR)
    removal_postgres_username: str = text("", "the name of a user who may delete")
    removal_postgres_password: SecretStr = secret("", "that user's password")
    removal_neo4j_username: str = text("", "the name of a user who may delete")
    removal_neo4j_password: SecretStr = secret("", "that user's password")
    check_rate: int = whole(50_000, 1, 10_000_000)
    """Records a second that a check asks a store for."""
    doctor_disk: str = Field("", description="a folder on the one disk that all servers have their data on")

    @field_validator("rabbitmq_management_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and url != "none" and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username):
            raise ValueError("not such a URL")
        return "" if url == "none" else url.rstrip("/")

    @field_validator("status_graphinator", "status_tableinator")
    @classmethod
    def _check_places(cls, places: tuple[str, ...]) -> tuple[str, ...]:
        for place in places:
            endpoint = parse_endpoint(place)
            if endpoint.port is None or endpoint.scheme is not None:
                raise ValueError("not host:port")
        return places

    @property
    def places(self) -> dict[Service, tuple[str, ...]]:
        """Where each service is asked; one that has none is not looked at."""
        return {Service.GRAPHINATOR: self.status_graphinator, Service.TABLEINATOR: self.status_tableinator}

    @property
    def login(self) -> tuple[str, str]:
        """The broker's user and password."""
        parts = urlsplit(self.broker.url.get_secret_value())
        return unquote(parts.username or "guest"), unquote(parts.password or "guest")

    @property
    def vhost(self) -> str:
        """The broker's virtual host."""
        return unquote(urlsplit(self.broker.url.get_secret_value()).path[1:]) or "/"


def _management_url(broker: BrokerSettings) -> str:
    """Beside the broker, where it usually is; nowhere where that would send the password unprotected."""
    parts = urlsplit(broker.url.get_secret_value())
    if parts.scheme == "amqps" or "," in parts.netloc or parts.hostname is None:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"http://{host}:{MANAGEMENT_PORT}"
