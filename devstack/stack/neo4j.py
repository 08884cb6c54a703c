"""Neo4j Community from its Maven artefacts: one JVM, Bolt on the loopback only, with a password."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from common.errors import StartRefused
from devstack.stack.files import write_private
from devstack.stack.launching import Command, run_once
from devstack.stack.maven import jars_folder, neo4j_version
from devstack.stack.ports import LOOPBACK, answer
from devstack.stack.recipe import Place, StackFailed

USER = "neo4j"
DATABASE = "neo4j"
HEAP = "1G"
# Bolt's magic number, then four versions of which the server picks one: 5.0 to 5.4, 4.4, 4.3, none.
_HANDSHAKE = bytes.fromhex("6060b017 00040405 00000404 00000304 00000000")
_AGREED = {bytes((0, 0, minor, major)) for major, minor in ((4, 3), (4, 4), *((5, minor) for minor in range(5)))}
_OPENED = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent", "java.lang")

_CONFIGURATION = """\
server.default_listen_address={loopback}
server.bolt.listen_address={loopback}:{bolt}
server.bolt.advertised_address={loopback}:{bolt}
server.http.enabled=false
server.https.enabled=false
dbms.security.auth_enabled=true
server.memory.heap.initial_size={heap}
server.memory.heap.max_size={heap}
server.memory.pagecache.size=256M
db.tx_log.rotation.retention_policy=keep_none
dbms.usage_report.enabled=false
# A stop takes 2 s instead of 12.
internal.server.bolt.thread_pool_shutdown_wait_time=0s
"""


class Neo4j:
    """The recipe."""

    name = "neo4j"
    ports = ("bolt",)
    supervised = False
    patience = 120.0
    stop_signal = signal.SIGTERM

    def __init__(self, *, archive_to: Path | None = None) -> None:
        """Have the JVM write an archive of its classes there when it ends, instead of reading the machine's."""
        self._archive_to = archive_to

    def prepare(self, place: Place) -> None:
        """Write the configuration and, the first time, set the password; afterwards the data knows it."""
        for name in ("conf", "plugins", "run"):
            (place.folder / name).mkdir(exist_ok=True)
        configuration = _CONFIGURATION.format(loopback=LOOPBACK, heap=HEAP, **dict(place.ports))
        write_private(place.folder / "conf/neo4j.conf", configuration)
        if not place.mark_of_use.exists():  # a first start that was cut short may lack the password forever
            shutil.rmtree(place.folder / "data", ignore_errors=True)
            self._set_password(place)

    def commands(self, place: Place) -> Sequence[Command]:
        """Return the server."""
        folder = place.folder
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
        argv = [find_java(), f"-Xms{HEAP}", f"-Xmx{HEAP}", f"-XX:+Use{_collector()}", *opened, "-Dfile.encoding=UTF-8"]
        argv += [*self._classes(), "-cp", _classpath(place), _main_class()]
        argv += [f"--home-dir={folder}", f"--config-dir={folder / 'conf'}"]
        return [Command(name="neo4j", argv=argv, folder=folder, log=place.log("neo4j"))]

    def is_ready(self, place: Place) -> bool:
        """Tell whether Bolt agrees on a version; the port alone opens earlier."""
        return answer(place.ports["bolt"], _HANDSHAKE, 4) in _AGREED

    def _classes(self) -> list[str]:
        if self._archive_to is not None:
            return [f"-XX:ArchiveClassesAtExit={self._archive_to}"]
        return [f"-XX:SharedArchiveFile={archive}"] if (archive := class_archive()).exists() else []

    def _set_password(self, place: Place) -> None:
        # In a file, because everybody on the machine can read a command line.
        argument = place.folder / "password"
        write_private(argument, place.password)
        done = run_once(administration(place, "dbms", "set-initial-password", f"@{argument}"))
        argument.unlink()
        if done.returncode != 0:
            raise StackFailed(f"neo4j: setting the password failed:\n{done.stdout}{done.stderr}")


def _collector() -> str:
    return os.environ.get("NEO4J_COLLECTOR") or "G1GC"  # which is Neo4j's own choice


def uri(place: Place) -> str:
    """Return the address for clients."""
    return f"bolt://{LOOPBACK}:{place.ports['bolt']}"


def administration(place: Place, *arguments: str) -> Command:
    """Return what `neo4j-admin` is here, with these arguments; what it does to a database, it does to a stopped one."""
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
    argv = [find_java(), *opened, "-cp", _classpath(place), f"-Dbasedir={place.folder}", "org.neo4j.cli.AdminTool"]
    return Command(
        name="neo4j-admin",
        argv=[*argv, *arguments],
        folder=place.folder,
        log=place.log("neo4j"),
        environment={"NEO4J_HOME": str(place.folder), "NEO4J_CONF": str(place.folder / "conf")},
    )


def class_archive() -> Path:
    """Return where the archive of Neo4j's classes is, or will be, for the Java that runs it. Raises: StartRefused."""
    return jars_folder() / f"classes-{_version(find_java())}.jsa"  # beside the jars, because it holds for these alone


def find_java() -> str:
    """Return a Java that runs this version of Neo4j. Raises: StartRefused."""
    for java in _javas():
        if java_version(java) >= least_java():
            return java
    raise StartRefused(
        f"Neo4j {neo4j_version()} needs Java {least_java()} or newer, and none was found in JAVA_HOME, PATH "
        "or /usr/lib/jvm"
    )


def has_java() -> bool:
    """Tell whether there is a Java that runs this version of Neo4j."""
    return any(java_version(java) >= least_java() for java in _javas())


def least_java() -> int:
    """Return the oldest Java that runs this version of Neo4j."""
    return 17 if _is_5() else 21


def java_version(java: str) -> int:
    """Return a Java's major version, 0 if it does not run."""
    return int(re.split(r"\D", _version(java))[0])


@cache
def _version(java: str) -> str:
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30.0, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return "0"
    found = re.search(r'version "(\d[^"]*)"', said.stderr)
    return found.group(1) if found else "0"


def _is_5() -> bool:
    return neo4j_version().startswith("5.")


def _main_class() -> str:
    return "org.neo4j.server.CommunityEntryPoint" if _is_5() else "org.neo4j.server.Neo4jCommunity"


def _javas() -> list[str]:
    named = [f"{os.environ['JAVA_HOME']}/bin/java"] if os.environ.get("JAVA_HOME") else []
    on_path = shutil.which("java")
    installed = sorted(str(path) for path in Path("/usr/lib/jvm").glob("*/bin/java"))
    return [java for java in (*named, *([on_path] if on_path else []), *installed) if Path(java).exists()]


def _classpath(place: Place) -> str:
    # What all places share comes first: an archive of classes holds for a class path that begins like its own.
    return f"{jars_folder()}/*:{place.folder}/plugins/*:{place.folder}/conf/*"
