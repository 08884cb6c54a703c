#!/usr/bin/env python3
"""Give each server its password, in a volume of its own: `docker compose up` runs this before anything else.

The password is the first of these that there is: the user's file (secrets/postgres_password), what an earlier start
made, the user's variable (POSTGRES_PASSWORD in .env), else a new one by chance. A server takes a password when its
data is first made and never again, so a new one is not made for data that has another.
"""

import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OWN = Path("/own")
"""The user's folder."""
TOLD = Path("/run/told")
"""The user's variables: a line `server=password` for each, mostly without the password."""
VOLUMES = Path("/run/secrets")
"""Below it a volume for each server, which the server and its clients mount too."""
DATA = Path("/data")
"""Below it the servers' data."""

MADE = {
    "rabbitmq": ("mnesia/*",),
    "postgres": ("PG_VERSION", "*/PG_VERSION", "*/*/PG_VERSION"),  # (images before 18 keep it higher up)
    "neo4j": ("databases/system",),
    "grafana": ("grafana.db",),
}
"""What a server's data holds, as patterns, once it has taken a password."""

# What needs no quotes in rabbitmq.conf and no escape in a URL; Neo4j takes nothing below 8.
_ALLOWED = re.compile(r"[A-Za-z0-9._~-]{8,}")
_ALLOWED_IN_WORDS = "allowed are 8 or more letters, digits and the characters . _ ~ -"


class Refused(Exception):
    """There is no password that would do; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is for one server, before anything is decided."""

    server: str
    folder: str
    """The user's folder, as the user names it."""
    project: str
    own: str = ""
    kept: str = ""
    told: str = ""
    has_data: bool = False

    @property
    def file(self) -> str:
        """Where the user may put a password."""
        return f"{self.folder}/{self.server}_password"

    @property
    def variable(self) -> str:
        """How else the user may name one."""
        return f"{self.server.upper()}_PASSWORD"


def choose(found: Found) -> tuple[str, str]:
    """Return the password, and what to say of where it is from.

    Raises: Refused.
    """
    for password, origin in ((found.own, found.file), (found.told, found.variable)):
        if password and not _ALLOWED.fullmatch(password):
            raise Refused(f"{origin}: {_ALLOWED_IN_WORDS}")
    if found.own:
        return found.own, f"from {found.file}{_change(found, found.own)}"
    if found.kept:
        ignored = f"; {found.variable} names another, which needs to be in {found.file} to replace it"
        return found.kept, "as before" + (ignored if found.told not in ("", found.kept) else "")
    if found.told:
        return found.told, f"from {found.variable}{_change(found, found.told)}"
    if found.has_data:
        raise Refused(
            f"{found.server}: its data was made with a password that is not here any more, and no new one opens it. "
            f"Put it into {found.file}, or into .env as {found.variable}; or begin again without this data: "
            f"docker compose --profile '*' down, then docker volume rm {found.project}_{found.server}"
        )
    return secrets.token_hex(24), "new"


def _change(found: Found, password: str) -> str:
    if found.has_data and found.kept and password != found.kept:
        return "; it is another than before, and the server has to be told too: its data keeps the one it was made with"
    return ""


def look(server: str, environ: Mapping[str, str]) -> Found:
    """Look at everything that there is for a server."""
    lines = TOLD.read_text().splitlines() if TOLD.exists() else []
    return Found(
        server,
        folder=environ.get("OWN_FOLDER", "secrets"),
        project=environ.get("PROJECT", "spindle"),
        own=_read(OWN / f"{server}_password"),
        kept=_read(VOLUMES / server / "password"),
        told=dict(line.split("=", 1) for line in lines if "=" in line).get(server, ""),
        has_data=any(any((DATA / server).glob(pattern)) for pattern in MADE[server]),
    )


def forms(server: str, password: str) -> dict[str, str]:
    """Return the files that go into a server's volume.

    RabbitMQ's image reads no password from a file, hence a piece of configuration; Neo4j's wants the user in it too.
    """
    further = {
        "rabbitmq": {"rabbitmq.conf": f"default_user = spindle\ndefault_pass = {password}\n"},
        "neo4j": {"auth": f"neo4j/{password}\n"},
    }
    return {"password": f"{password}\n", **further.get(server, {})}


def keep(server: str, password: str) -> None:
    """Write what a server and its clients read: complete or not at all, and readable by whatever user they are."""
    for name, content in forms(server, password).items():
        path = VOLUMES / server / name
        new = path.with_name(f".{name}.new")
        new.write_text(content)
        new.chmod(0o644)
        new.replace(path)


def main() -> int:
    """Decide for every server, then write for every server: all or none."""
    chosen: dict[str, tuple[str, str]] = {}
    refusals: list[str] = []
    for server in MADE:
        try:
            chosen[server] = choose(look(server, os.environ))
        except Refused as refusal:
            refusals.append(str(refusal))
    if refusals:
        print(*refusals, sep="\n", file=sys.stderr)
        return 2
    for server, (password, origin) in chosen.items():
        keep(server, password)
        print(f"The password of {server}: {origin}")
    return 0


def _read(path: Path) -> str:
    return path.read_text().rstrip("\n") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
