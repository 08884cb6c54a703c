"""The fast source passes the Source contract, and does all that is asked of the aio-pika source on a real broker."""

import pytest

from common.rabbitmq.consuming.fast.source import FastSource
from tests.contract import test_aio_pika_source as other
from tests.contract.source import SourceContract
from tests.contract.test_aio_pika_source import harness, impatient_rabbitmq, slow_harness

__all__ = ["harness", "impatient_rabbitmq", "slow_harness"]


@pytest.fixture(autouse=True)
def _it_is_the_fast_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other, "RabbitSource", FastSource)


class TestFastSource(SourceContract):
    pass


# The same tests, not copies of them: what the one source does the other has to do too.
globals().update({name: test for name, test in vars(other).items() if name.startswith("test_")})
