"""Fetch Neo4j's jars once per machine and version, into a shared cache."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from devstack.stack.files import locked
from devstack.stack.recipe import StackFailed

# A version range would fetch every version's description: minutes instead of seconds.
NEO4J_VERSION = "5.26.30"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"

_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>spindle</groupId>
  <artifactId>neo4j</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.neo4j.app</groupId><artifactId>neo4j-server</artifactId><version>{NEO4J_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{NEO4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


def cache_folder() -> Path:
    """Return the folder that all stacks of this user share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spindle"


def jars_folder() -> Path:
    """Return where the jars are, or will be: the folder appears only when it is complete."""
    return cache_folder() / f"neo4j-{NEO4J_VERSION}"


def fetch_neo4j(say: Callable[[str], None]) -> None:
    """Have the jars in the cache; the second of two at the same time waits for the first. Raises: StackFailed."""
    cache = cache_folder()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(cache / "neo4j.lock"):
        if jars_folder().exists():
            return
        say(f"fetching Neo4j {NEO4J_VERSION} by Maven (about 120 MB)")
        draft = Path(tempfile.mkdtemp(prefix=".neo4j-", dir=cache))
        try:
            _copy_dependencies(draft)
            (draft / "lib").rename(jars_folder())
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _copy_dependencies(folder: Path) -> None:
    (folder / "pom.xml").write_text(_POM)
    argv = ["mvn", "-B", "-q", _PLUGIN, "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}"]
    done = subprocess.run(  # noqa: S603  (the argument list is ours)
        argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900.0, check=False
    )
    if done.returncode != 0 or not (folder / "lib" / f"neo4j-{NEO4J_VERSION}.jar").exists():
        raise StackFailed(f"Maven could not fetch Neo4j {NEO4J_VERSION}:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
