"""A picture for a person, and for a program."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from spindle.status.assess import Verdict
from spindle.status.quantiles import Latency
from spindle.status.snapshot import KindState, Picture, ServiceState

_COLOURS = {Verdict.HEALTHY: "green", Verdict.DEGRADED: "yellow", Verdict.UNREACHABLE: "bold red"}


def as_screen(picture: Picture, verdict: Verdict, wrong: Sequence[str]) -> RenderableType:
    """The answer first, then where, how fast and how far, then what is wrong."""
    return Group(
        Text(verdict.name.lower(), style=_COLOURS[verdict]),
        _places(picture),
        Text(),
        _kinds(picture),
        Text(_about_latency(picture.window), style="dim"),
        *(Text(f"- {sentence}", style="yellow") for sentence in wrong),
    )


def _places(picture: Picture) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("rabbitmq", escape(picture.broker.address), "", _broker(picture))
    for state in picture.services:
        for replica in state.replicas:
            ready = "[green]ready[/]" if replica.is_ready else "[red]not ready[/]"
            table.add_row(
                state.service,
                replica.address,
                ready if replica.answers else "[bold red]no answer[/]",
                _store(state) if replica.answers else "",
            )
    return table


def _broker(picture: Picture) -> str:
    if not picture.broker.is_reachable:
        return "[bold red]no answer[/]"
    return f"[red]no {' and no '.join(picture.broker.alarms)} left[/]" if picture.broker.alarms else "[green]ok[/]"


def _store(state: ServiceState) -> str:
    if not state.store:
        return "[red]no store yet[/]"
    if not state.breaker_open:
        return f"{state.store} [green]ok[/]"
    return f"{state.store} [red]unavailable{', needs a person' if state.alarm else ''}[/]"


def _kinds(picture: Picture) -> Table:
    table = Table("service", "kind", box=None, pad_edge=False)
    for heading in ("records/s", "ready", "unacked", "ETA", "in flight", "p50", "p95", "p99", "dead", "in DLQ"):
        table.add_column(heading, justify="right")
    for state in picture.services:
        for kind in state.kinds:
            table.add_row(state.service, kind.kind, *_cells(kind, picture))
    return table


def _about_latency(window: float | None) -> str:
    since = (
        "since the services began, where they settle any now" if window is None else f"in the last {_duration(window)}"
    )
    return f"p50, p95, p99: from publish to commit, of the records {since}"


def _cells(kind: KindState, picture: Picture) -> Iterator[str]:
    yield f"{kind.rate:,.0f}"
    yield _count(kind.ready)
    yield _count(kind.unacknowledged if picture.broker.is_reachable else None)
    yield _duration(kind.eta) if kind.eta is not None else "?"
    yield f"{kind.in_flight:,}"
    # How long records took in a load of last week is no answer to how long they take.
    yield from _latencies(kind.latency if kind.rate or picture.window is not None else None)
    yield f"{kind.outcomes['dead_lettered']:,}"
    yield _count(kind.dead_letters)


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _latencies(latency: Latency | None) -> Iterator[str]:
    if latency is None:
        return iter(("-", "-", "-"))
    return map(_short, (latency.p50, latency.p95, latency.p99))


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.3g} s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def as_data(picture: Picture, verdict: Verdict, wrong: Sequence[str]) -> dict[str, Any]:
    """The same for a program; durations are seconds, and what is not known is null.

    Latencies without a window are of the time since the services began.
    """
    broker = picture.broker
    return {
        "verdict": verdict.name.lower(),
        "problems": list(wrong),
        "broker": {
            "address": broker.address,
            "reachable": broker.is_reachable,
            "asked_by": list(broker.asked_by),
            "alarms": list(broker.alarms),
        },
        "latency_window_seconds": picture.window and round(picture.window, 1),
        "services": {state.service.value: _service_as_data(state) for state in picture.services},
    }


def _service_as_data(state: ServiceState) -> dict[str, Any]:
    return {
        "store": state.store or None,
        "breaker_open": state.breaker_open,
        "store_alarm": state.alarm,
        "publishing_blocked": state.publishing_blocked,
        "replicas": [
            {
                "address": replica.address,
                "answers": replica.answers,
                "ready": replica.is_ready,
                "trouble": list(replica.trouble),
            }
            for replica in state.replicas
        ],
        "kinds": {kind.kind: _kind_as_data(kind) for kind in state.kinds},
    }


def _kind_as_data(kind: KindState) -> dict[str, Any]:
    latency = kind.latency
    return {
        "records_per_second": round(kind.rate, 1),
        "ready": kind.ready,
        "unacknowledged": kind.unacknowledged,
        "backlog": kind.backlog,
        "eta_seconds": None if kind.eta is None else round(kind.eta, 1),
        "in_flight": kind.in_flight,
        "oldest_unacknowledged_seconds": round(kind.oldest, 1),
        "latency_seconds": latency and {"p50": latency.p50, "p95": latency.p95, "p99": latency.p99},
        "outcomes": dict(kind.outcomes),
        "dead_letter_queue": kind.dead_letters,
        "flags": list(kind.flags),
    }
