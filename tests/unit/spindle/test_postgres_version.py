"""Which PostgreSQL the native stack runs."""

from pathlib import Path

import pytest

from common.errors import StartRefused
from devstack.stack import installing, postgres, postgres_versions


def test_an_unknown_version_is_refused_with_those_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_VERSION", "14")

    with pytest.raises(StartRefused, match=r"POSTGRES_VERSION is '14'; allowed is one of 15, 16, 17, 18\."):
        postgres.find_programs()


def test_an_installed_version_is_run_and_another_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "17/bin").mkdir(parents=True)
    (tmp_path / "17/bin/initdb").touch()
    monkeypatch.setattr(postgres, "_DEBIAN", tmp_path)
    monkeypatch.setattr(postgres, "programs_folder", lambda version: tmp_path / "fetched" / version)
    found = {}

    for version in ("", "16", "17"):
        monkeypatch.setenv("POSTGRES_VERSION", version)
        found[version] = (postgres.find_programs(), installing.to_fetch())

    installed = tmp_path / "17/bin"
    assert found == {"": (installed, None), "16": (None, "16"), "17": (installed, None)}


def test_every_version_is_a_release_of_it() -> None:
    assert [each for each, release in postgres_versions.VERSIONS.items() if not release.startswith(f"{each}.")] == []
