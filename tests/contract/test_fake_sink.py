"""The fake sink passes the Sink contract, so what the pipeline's tests prove holds for the real ones."""

from collections.abc import Mapping
from copy import copy

import pytest
from msgspec.structs import asdict

from common.errors import RecordsRefused, Refusal, StoreUnavailable
from common.loads import LoadErrors
from tests.contract.sink import SinkContract, SinkHarness, Stored
from tests.fakes import FakeRecord, FakeSink


class FakeHarness(SinkHarness):
    """A table in memory, seen from both sides."""

    def __init__(self) -> None:
        self.sink: FakeSink = FakeSink()
        self.sink.fail = lambda records: (
            RecordsRefused(Refusal("Fake", "F1", ""), positions=None, certain=True)
            if any(record.payload == "refused" for record in records)
            else None
        )

    def another_sink(self) -> FakeSink:
        return copy(self.sink)

    def make(self, record_id: str, payload: str, *, sha256: str, version: str | None) -> FakeRecord:
        return FakeRecord(record_id, sha256, version, payload)

    async def stored(self) -> Mapping[str, Stored]:
        return {record.id: Stored(record.payload, record.version) for record in self.sink.rows.values()}

    async def errors(self) -> list[LoadErrors]:
        return [
            LoadErrors(load=load, kind="artists", result=result, **asdict(met))
            for (load, result), met in self.sink.ledger.errors().items()
        ]

    def make_refused(self, record_id: str) -> FakeRecord:
        return FakeRecord(record_id, "hash", None, "refused")

    async def break_store(self) -> bool:
        self._fail, self.sink.fail = self.sink.fail, lambda _: StoreUnavailable("away")
        return True

    async def mend_store(self) -> None:
        self.sink.fail = self._fail


class TestFakeSink(SinkContract):
    @pytest.fixture
    async def harness(self) -> FakeHarness:
        return FakeHarness()
