"""What the images install is what is pinned, each file by its hash, and from no address."""

import re

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
