"""What is noted of a batch that is traced; and that one which is not, and one whose spans fail, are written alike."""

import subprocess
import sys
import time

import pytest
from structlog.testing import capture_logs

from common.batching.batch import Batch, Trigger
from common.errors import StoreUnavailable
from common.outcomes import Outcomes
from common.sink import Result
from common.telemetry.tracing import MOST_TRANSACTIONS, BatchTrace, Tracer, open_tracer
from tests.fakes import body, consumer_settings, refuse
from tests.unit.pipeline.line import Line, bodies
from tests.virtual_time import in_virtual_time


class Kept:
    """Keeps traces instead of sending spans."""

    def __init__(self) -> None:
        self.traces: list[BatchTrace] = []
        self.closed_within: list[float] = []

    def send(self, trace: BatchTrace) -> None:
        self.traces.append(trace)

    async def close(self, limit: float) -> None:
        self.closed_within.append(limit)


class Failing(Kept):
    """Can make no span of any."""

    def send(self, trace: BatchTrace) -> None:
        raise ValueError("a secret of the message")


def traced(export: Kept, *, ratio: float = 1.0, size: int = 50) -> Line:
    return Line(size=size, tracer=Tracer(export, ratio=ratio))


def results(trace: BatchTrace) -> list[tuple[Result, int, str]]:
    return [(each.result, each.records, each.code) for each in trace.transactions]


@in_virtual_time
async def test_a_batch_is_traced_from_its_closing_to_its_settling() -> None:
    export = Kept()
    line = traced(export)
    line.source.put(*bodies(*range(1, 51)))

    async with line.running():
        await line.until(line.settled)

    [trace] = export.traces
    assert (trace.kind, trace.batch.size, trace.batch.trigger) == (line.kind, 50, Trigger.SIZE)
    assert trace.outcomes == Outcomes(new=50)
    assert (trace.superseded, trace.quarantined, trace.released) == (0, 0, 0)
    assert results(trace) == [(Result.STORED, 50, "")]
    assert trace.began <= trace.transactions[0].began <= trace.transactions[0].ended <= trace.ended


@in_virtual_time
async def test_each_record_of_a_batch_is_in_one_number() -> None:
    export = Kept()
    line = traced(export)
    line.sink.fail = refuse("7")
    line.source.put(*bodies(*range(1, 41)), load="20260101")
    line.source.put(body(3, "again"), body(4), load="20260201")

    async with line.running():
        await line.until(line.settled)

    assert [trace.batch.size for trace in export.traces] == [42]
    [trace] = export.traces
    assert trace.outcomes.total + trace.superseded + trace.quarantined == 42
    assert (trace.superseded, trace.quarantined, trace.released) == (2, 1, 0)


@in_virtual_time
async def test_a_refused_transaction_has_the_stores_code() -> None:
    export = Kept()
    line = traced(export, size=4)
    line.sink.fail = refuse("2", named=True)
    line.source.put(*bodies(1, 2, 3, 4))

    async with line.running():
        await line.until(line.settled)

    [trace] = export.traces
    assert results(trace) == [(Result.REFUSED, 4, "F0001"), (Result.STORED, 3, "")]


@in_virtual_time
async def test_a_batch_that_is_held_tells_each_attempt() -> None:
    export = Kept()
    line = traced(export, size=4)
    failures = [StoreUnavailable("away", code="57P01")]
    line.sink.fail = lambda _: failures.pop() if failures else None
    line.source.put(*bodies(1, 2, 3, 4))

    async with line.running():
        await line.until(line.settled)

    [trace] = export.traces
    assert results(trace) == [(Result.UNAVAILABLE, 4, "57P01"), (Result.STORED, 4, "")]
    assert trace.transactions[0].ended <= trace.transactions[1].began


def test_nothing_ends_before_it_began_although_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = BatchTrace("artists", Batch([], Trigger.SIZE), on_end=Kept().send)
    trace.transaction_begins(1)
    monkeypatch.setattr(time, "time_ns", lambda: 0)

    trace.transaction_ended(Result.STORED, code="")
    trace.end(quarantined=0)

    [transaction] = trace.transactions
    assert trace.began <= transaction.began <= transaction.ended <= trace.ended


@in_virtual_time
async def test_what_is_let_go_in_a_drain_is_released() -> None:
    export = Kept()
    line = traced(export, size=4)
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(1, 2, 3, 4))

    await line.stopped_after(5)

    [trace] = export.traces
    assert (trace.outcomes.total, trace.released) == (0, 4)


@in_virtual_time
async def test_of_a_batch_that_is_all_bad_not_every_transaction_is_kept() -> None:
    export = Kept()
    line = traced(export, size=200)
    line.sink.fail = refuse(*map(str, range(1, 101)))
    line.source.put(*bodies(*range(1, 201)))

    async with line.running():
        await line.until(lambda: bool(export.traces))

    [trace] = export.traces
    assert trace.transaction_count > 150
    assert len(trace.transactions) == MOST_TRANSACTIONS


@in_virtual_time
async def test_a_share_of_batches_is_traced() -> None:
    for ratio, least, most in ((0.0, 0, 0), (0.5, 20, 80), (1.0, 100, 100)):
        export = Kept()
        line = traced(export, ratio=ratio, size=2)
        line.source.put(*bodies(*range(1, 201)))

        async with line.running():
            await line.until(line.settled)

        assert least <= len(export.traces) <= most


@in_virtual_time
async def test_records_go_on_if_no_span_can_be_made_and_it_is_said_once_without_the_text() -> None:
    line = traced(Failing(), size=10)
    line.source.put(*bodies(*range(1, 101)))

    with capture_logs() as lines:
        async with line.running():
            await line.until(line.settled)

    assert len(line.sink.rows) == 100
    [said] = [each for each in lines if "spans" in each["event"]]
    assert said["error"] == "ValueError"
    assert "secret" not in str(said)


@in_virtual_time
async def test_spans_have_what_the_drain_leaves_them_and_at_the_most_two_seconds() -> None:
    for limit, left in ((None, 2.0), (8.0, 2.0), (1.5, 1.0), (0.3, 0.0)):
        export = Kept()
        tracer = Tracer(export, ratio=1.0)
        if limit is not None:
            tracer.drain(limit)

        await tracer.close()

        assert export.closed_within == [pytest.approx(left)]


def test_off_there_is_no_tracer() -> None:
    assert open_tracer(consumer_settings()) is None


@pytest.mark.parametrize("service", ["tableinator", "graphinator"])
def test_off_nothing_of_opentelemetry_is_imported(service: str) -> None:
    code = f"import sys, {service}.__main__; print([name for name in sys.modules if 'opentelemetry' in name])"

    assert _run(code) == (0, "[]\n", "")


@pytest.mark.parametrize("missing", ["opentelemetry", "requests"])
def test_on_without_the_packages_the_service_names_the_extra_and_does_not_start(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from tableinator.__main__ import main; sys.exit(main())"

    exit_code, _, logged = _run(code, TRACING="otlp")

    assert exit_code == 2
    [line] = [line for line in logged.splitlines() if "TRACING" in line]
    assert "TRACING is 'otlp'" in line
    assert "install the extra tracing (pip install '.[tracing]'" in line


def test_a_variable_that_the_sdk_cannot_read_when_it_is_imported_is_refused_without_its_text() -> None:
    code = "import sys; from tableinator.__main__ import main; sys.exit(main())"

    exit_code, _, logged = _run(code, TRACING="otlp", OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="tooth-fairy")

    assert exit_code == 2
    assert "can't be used as it is configured (ValueError); look at the variables OTEL_" in logged
    assert "tooth-fairy" not in logged
    assert "Traceback" not in logged


def _run(code: str, **environ: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environ)
    return done.returncode, done.stdout, done.stderr
