"""What the images install is what is pinned, each file by its hash, and from no address."""

import re

from tests.servers.compose import ROOT

PINS = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
HASHED = [line for line in (ROOT / "requirements.hashes.txt").read_text().splitlines() if not line.startswith("#")]


def test_every_pin_has_hashes_and_nothing_else_is_there() -> None:
    """After a change of requirements.txt: `make hashes`."""
    assert [line.partition(" ")[0].lower() for line in HASHED] == [pin.lower() for pin in PINS]
    for line in HASHED:
        assert re.fullmatch(r"[\w-]+==[\w.]+( --hash=sha256:[0-9a-f]{64})+", line), line[:80]
