"""Which Neo4j the native stack runs, and with which Java."""

import pytest

from common.errors import StartRefused
from devstack.stack import maven, neo4j


@pytest.mark.parametrize(
    ("asked", "version", "java"),
    [("", "5.26.30", 17), ("5.26", "5.26.30", 17), ("2026.09", "2026.09.0", 21), ("2026.09.0", "2026.09.0", 21)],
)
def test_the_environment_chooses_the_version(
    monkeypatch: pytest.MonkeyPatch, asked: str, version: str, java: int
) -> None:
    monkeypatch.setenv("NEO4J_VERSION", asked)

    assert maven.neo4j_version() == version
    assert maven.jars_folder().name == f"neo4j-{version}"
    assert neo4j.least_java() == java


def test_an_unknown_version_is_refused_with_those_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_VERSION", "4.4")

    with pytest.raises(StartRefused, match=r"NEO4J_VERSION is '4\.4'; allowed is one of 5\.26, 2026\.09\."):
        maven.neo4j_version()
