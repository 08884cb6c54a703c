"""Install the servers that are missing: Debian packages; by Maven Neo4j's jars, and a PostgreSQL of another version."""

import os
import shutil
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path

from common.errors import StartRefused
from devstack.stack import maven, neo4j, postgres, postgres_versions, rabbitmq
from devstack.stack.recipe import StackFailed

# Any of these runs Neo4j 5.26, the first Neo4j 2026 too; which of them exists depends on the distribution's release.
_JAVA = ("openjdk-21-jre-headless", "openjdk-17-jre-headless", "default-jre-headless")

# policy-rc.d keeps a fresh package's server from being started: the stack starts its own, elsewhere.
_SCRIPT = """\
set -e
export DEBIAN_FRONTEND=noninteractive
if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
apt-get update -q
packages=
for name in "$@"; do
    if [ "$name" = java ]; then
        for name in {java}; do
            if apt-cache policy "$name" | grep -q 'Candidate: [0-9]'; then break; fi
        done
    fi
    packages="$packages $name"
done
apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 $packages
"""


def install(servers: Collection[str], say: Callable[[str], None]) -> None:
    """Have the programs of these servers on the machine. Raises: StartRefused, StackFailed."""
    packages = missing_packages(servers)
    if packages:
        say(f"installing {', '.join(packages)}")
        _apt(packages)
    if "neo4j" in servers:
        maven.fetch_neo4j(say)
    if "postgres" in servers and (version := to_fetch()):
        postgres_versions.fetch_postgres(version, say)


def missing_packages(servers: Collection[str]) -> list[str]:
    """Return what is still to be installed for these servers; `java` stands for one that is new enough."""
    needs_maven = ("neo4j" in servers and not maven.jars_folder().exists()) or (
        "postgres" in servers and to_fetch() is not None
    )
    wanted = {
        "rabbitmq-server": "rabbitmq" in servers and not rabbitmq.PROGRAM.exists(),
        "postgresql": "postgres" in servers and postgres.installed_programs() is None,  # and its account
        "pgbouncer": "pgbouncer" in servers and find_pgbouncer() is None,  # for tests; no stack has one
        "java": "neo4j" in servers and not neo4j.has_java(),
        "maven": needs_maven and shutil.which("mvn") is None,
    }
    return [package for package, missing in wanted.items() if missing]


def to_fetch() -> str | None:
    """Return the version of PostgreSQL that is asked for and not here."""
    return postgres_versions.asked_version() if postgres.find_programs() is None else None


def find_pgbouncer() -> str | None:
    """Return where PgBouncer is, or None."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def reason_against() -> str | None:
    """Return why nothing can be installed here, or None if it can."""
    if not Path("/proc/self/stat").exists():
        return "the native stack runs on Linux only"
    if shutil.which("apt-get") is None:
        return "there is no apt-get: install RabbitMQ, PostgreSQL, Java 17 and Maven by hand, or use containers"
    if os.geteuid() != 0 and not _sudo_works():
        return "installing needs root, or sudo without a password"
    return None


def _sudo_works() -> bool:
    if shutil.which("sudo") is None:
        return False
    asked = subprocess.run(["sudo", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S607
    return asked.returncode == 0


def _apt(packages: Collection[str]) -> None:
    if (reason := reason_against()) is not None:
        raise StartRefused(f"{', '.join(packages)} must be installed, but {reason}")
    script = _SCRIPT.replace("{java}", " ".join(_JAVA))
    argv = [*([] if os.geteuid() == 0 else ["sudo", "-n"]), "sh", "-c", script, "install", *packages]
    done = subprocess.run(  # noqa: S603  (the argument list is ours)
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800.0, check=False
    )
    if done.returncode != 0:
        raise StackFailed(
            f"apt-get could not install {', '.join(packages)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
