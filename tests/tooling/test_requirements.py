"""What the images install is what is pinned, each file by its hash, and from no address."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers.compose import ROOT


def lines_of(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("name", ["requirements", "requirements-tracing"])
def test_every_pin_has_hashes_and_nothing_else_is_there(name: str) -> None:
    """After a change of requirements.txt or requirements-tracing.txt: `make hashes`."""
    hashed = lines_of(f"{name}.hashes.txt")

    assert [line.partition(" ")[0].lower() for line in hashed] == [pin.lower() for pin in lines_of(f"{name}.txt")]
    for line in hashed:
        assert re.fullmatch(r"[\w-]+==[\w.]+( --hash=sha256:[0-9a-f]{64})+", line), line[:80]


def test_what_is_off_by_default_is_no_dependency_of_the_images() -> None:
    assert not [pin for pin in lines_of("requirements.txt") if "opentelemetry" in pin]
    assert not {pin.partition("==")[0] for pin in lines_of("requirements.txt")} & {
        pin.partition("==")[0] for pin in lines_of("requirements-tracing.txt")
    }


@pytest.mark.parametrize(("tracing", "has_it"), [("otlp", True), ("OTLP", True), ("off", False), ("", False)])
def test_an_image_has_the_extra_however_the_setting_is_spelt(tmp_path: Path, tracing: str, has_it: bool) -> None:
    [choice] = re.findall(r'case "\$TRACING".*?esac', (ROOT / "Dockerfile").read_text(), re.DOTALL)
    for name in ("requirements.hashes.txt", "requirements-tracing.hashes.txt"):
        shutil.copy(ROOT / name, tmp_path)

    subprocess.run(["sh", "-ec", choice], cwd=tmp_path, env={"TRACING": tracing}, check=True, timeout=10.0)

    services = tmp_path / "services.txt"
    added = {line.partition("==")[0] for line in services.read_text().splitlines()} if services.exists() else set()
    assert added == (
        {pin.partition("==")[0] for pin in lines_of("requirements-tracing.txt")} | {"urllib3"} if has_it else set()
    )
