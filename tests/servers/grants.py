"""The shipped grants, deploy/grants, under names of a test's own."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from common.kinds import DEFAULT_PREFIX, Names
from tests.servers.servers import RabbitMQ

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "grants"
PASSWORD: Final = "grants-word"  # neither a shipped nor a guessed one
RIGHTS: Final = ("configure", "write", "read")
SHIPPED: Final = "spindle_"


@dataclass(frozen=True, slots=True)
class Logins:
    """What the logins of one test are called: `of("setup")` is its `spindle_setup`."""

    prefix: str

    def of(self, role: str) -> str:
        """A login's name."""
        return self.prefix + role

    def renamed(self, text: str, database: str = "spindle") -> str:
        """A shipped text with these names in place of the shipped ones."""
        return text.replace(SHIPPED, self.prefix).replace("DATABASE spindle", f"DATABASE {database}")

    def renamed_logins(self, text: str) -> str:
        """A shipped text in which the logins alone have these names: the ledger's tables begin as they do."""
        return re.sub(r"\bspindle_(setup|tableinator|operator|graphinator|refiner)\b", self.prefix + r"\1", text)

    def url(self, broker: RabbitMQ, role: str) -> str:
        """The broker's URL with a role's login."""
        parts = urlsplit(broker.url)
        return urlunsplit(parts._replace(netloc=f"{self.of(role)}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"))


def permissions(names: Names = Names()) -> dict[str, dict[str, str]]:  # noqa: B008  (immutable)
    """RabbitMQ's patterns by role and right, for names below another prefix."""
    entries = json.loads((FOLDER / "rabbitmq.json").read_text())["permissions"]
    return {
        entry["user"].removeprefix(SHIPPED): {
            right: entry[right].replace(DEFAULT_PREFIX, re.escape(names.prefix)) for right in RIGHTS
        }
        for entry in entries
    }


def add_users(broker: RabbitMQ, logins: Logins) -> None:
    """Make RabbitMQ's users, as docs/reliability.md says."""
    for role in permissions():
        tags = "monitoring" if role == "monitoring" else ""
        broker.api("PUT", f"users/{logins.of(role)}", {"password": PASSWORD, "tags": tags})


def remove_users(broker: RabbitMQ, logins: Logins) -> None:
    """Remove them, with all they may do."""
    for role in permissions():
        broker.api("DELETE", f"users/{logins.of(role)}")


def grant(broker: RabbitMQ, logins: Logins, granted: Mapping[str, Mapping[str, str]]) -> None:
    """Import permissions into a broker's vhost in the form of the shipped file."""
    vhost = urlsplit(broker.url).path[1:]
    entries = [{"user": logins.of(role), "vhost": vhost, **rights} for role, rights in granted.items()]
    assert vhost == quote(vhost, safe="")
    broker.api("POST", "definitions", {"permissions": entries})


def postgresql(logins: Logins, database: str) -> list[str]:
    """The statements for PostgreSQL, without passwords."""
    return _statements(logins.renamed((FOLDER / "postgresql.sql").read_text(), database), "--")


def postgresql_of_made_tables(logins: Logins) -> list[str]:
    """The statements that the file has as comments, for tables that another login has made."""
    text = logins.renamed_logins((FOLDER / "postgresql.sql").read_text())
    return _statements("\n".join(re.findall(r"^-- (GRANT .*)$", text, re.MULTILINE)), "--")


def ledger(logins: Logins) -> list[str]:
    """The statements that make the ledger and grant what an operator writes of it."""
    return _statements(logins.renamed_logins((FOLDER / "ledger.sql").read_text()), "--")


def refinement(logins: Logins, database: str) -> list[str]:
    """The statements that make the login that refines, and its schema."""
    text = logins.renamed_logins((FOLDER / "refinement.sql").read_text())
    return _statements(text.replace("DATABASE spindle", f"DATABASE {database}"), "--")


def neo4j(logins: Logins) -> list[str]:
    """The statements for every edition of Neo4j."""
    return _statements(logins.renamed((FOLDER / "neo4j.cypher").read_text()), "//")


def neo4j_enterprise(logins: Logins) -> list[str]:
    """The statements that the file has as comments."""
    text = logins.renamed((FOLDER / "neo4j.cypher").read_text())
    return _statements("\n".join(re.findall(r"^// ((?:GRANT|CREATE) .*)$", text, re.MULTILINE)), "//")


def _statements(text: str, comment: str) -> list[str]:
    code = "\n".join(line.partition(comment)[0] for line in text.splitlines())
    return [each.strip() for each in code.split(";") if each.strip()]
