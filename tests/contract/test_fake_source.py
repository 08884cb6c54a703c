"""The in-memory source that the runtime's own tests use passes the Source contract."""

import pytest

from common.delivery import Source
from tests.contract.source import SourceContract, SourceHarness
from tests.fakes import FakeSource


class FakeHarness(SourceHarness):
    """Sources that follow each other on one queue in memory."""

    def __init__(self) -> None:
        self._source = FakeSource()

    def make(self, *, prefetch: int = 100) -> Source:
        source = FakeSource(prefetch=prefetch)
        source.ready = self._source.ready
        self._source = source
        return source

    async def publish(self, *bodies: bytes) -> None:
        self._source.put(*bodies)

    async def ready(self) -> int:
        return len(self._source.ready)

    async def lose_connection(self) -> None:
        self._source.lose_channel()


@pytest.fixture
def harness() -> FakeHarness:
    return FakeHarness()


class TestFakeSource(SourceContract):
    pass
