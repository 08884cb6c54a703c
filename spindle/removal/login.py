"""The login that may remove: of its own, because the services' may not."""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import SecretStr

from common.settings.environment import load as load_settings
from graphinator.settings import Neo4jSettings
from spindle.settings import OperatorSettings
from tableinator.settings import PostgresSettings


def postgres_of(environ: Mapping[str, str]) -> PostgresSettings:
    """PostgreSQL with REMOVAL_POSTGRES_USERNAME, if it is set."""
    settings, own = load_settings(PostgresSettings, environ), load_settings(OperatorSettings, environ)
    if not own.removal_postgres_username:
        return settings
    parts = urlsplit(settings.dsn.get_secret_value())
    login = ":".join(
        quote(each, safe="")
        for each in (own.removal_postgres_username, own.removal_postgres_password.get_secret_value())
    )
    address = parts.netloc.rpartition("@")[2]
    return settings.model_copy(update={"dsn": SecretStr(urlunsplit(parts._replace(netloc=f"{login}@{address}")))})


def neo4j_of(environ: Mapping[str, str]) -> Neo4jSettings:
    """Neo4j with REMOVAL_NEO4J_USERNAME, if it is set."""
    settings, own = load_settings(Neo4jSettings, environ), load_settings(OperatorSettings, environ)
    if not own.removal_neo4j_username:
        return settings
    return settings.model_copy(update={"username": own.removal_neo4j_username, "password": own.removal_neo4j_password})
