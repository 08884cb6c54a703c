"""Fetch Neo4j's jars once per machine and version, into a shared cache."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from common.errors import StartRefused
from devstack.stack.files import locked
from devstack.stack.recipe import StackFailed

# Exact ones: a version range would fetch every version's description, which takes minutes instead of seconds.
VERSIONS = {"5.26": "5.26.30", "2026.09": "2026.09.0"}
"""Which Neo4j the native stack can run. The first is the default."""

VARIABLE = "NEO4J_VERSION"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"

_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>spindle</groupId>
  <artifactId>neo4j</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.neo4j.app</groupId><artifactId>neo4j-server</artifactId><version>{version}</version>
    </dependency>
    <dependency>
      <groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{version}</version>
    </dependency>
  </dependencies>
</project>
"""


def neo4j_version() -> str:
    """Return the version that `NEO4J_VERSION` asks for, in full. Raises: StartRefused."""
    asked = os.environ.get(VARIABLE) or next(iter(VERSIONS))
    if asked in VERSIONS.values():
        return asked
    if asked not in VERSIONS:
        raise StartRefused(f"{VARIABLE} is {asked!r}; allowed is one of {', '.join(VERSIONS)}.")
    return VERSIONS[asked]


def cache_folder() -> Path:
    """Return the folder that all stacks of this user share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spindle"


def jars_folder() -> Path:
    """Return where the jars are, or will be: the folder appears only when it is complete."""
    return cache_folder() / f"neo4j-{neo4j_version()}"


def fetch_neo4j(say: Callable[[str], None]) -> None:
    """Have the jars in the cache; the second of two at the same time waits for the first. Raises: StackFailed."""
    cache = cache_folder()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(cache / "neo4j.lock"):
        if jars_folder().exists():
            return
        say(f"fetching Neo4j {neo4j_version()} by Maven (about 120 MB)")
        draft = Path(tempfile.mkdtemp(prefix=".neo4j-", dir=cache))
        try:
            _copy_dependencies(draft)
            (draft / "lib").rename(jars_folder())
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _copy_dependencies(folder: Path) -> None:
    version = neo4j_version()
    (folder / "pom.xml").write_text(_POM.format(version=version))
    argv = ["mvn", "-B", "-q", _PLUGIN, "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}"]
    done = subprocess.run(  # noqa: S603  (the argument list is ours)
        argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900.0, check=False
    )
    if done.returncode != 0 or not (folder / "lib" / f"neo4j-{version}.jar").exists():
        raise StackFailed(f"Maven could not fetch Neo4j {version}:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
