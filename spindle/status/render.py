"""A picture for a person, and for a program."""

import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from common.sink import BreakerState
from spindle.status.assess import Verdict
from spindle.status.quantiles import Latency
from spindle.status.snapshot import Breaker, KindState, LoadState, Picture, ServiceState

_COLOURS = {Verdict.HEALTHY: "green", Verdict.DEGRADED: "yellow", Verdict.UNREACHABLE: "bold red"}


WIDE = 110
"""Columns from which everything is shown; a terminal of 80 gets what a night needs."""


def as_screen(
    picture: Picture, verdict: Verdict, wrong: Sequence[str], *, width: int = WIDE, height: int | None = None
) -> RenderableType:
    """The answer first, then what is wrong, then where, how fast and how far.

    What does not fit into `height` is the end of what is wrong, and how much of it is said.
    """
    is_wide = width >= WIDE
    loads = [sentence for state in picture.services if (sentence := load_sentence(state, time.time()))]
    below: list[RenderableType] = [
        _places(picture, is_wide),
        Text(),
        _kinds(picture, is_wide),
        *map(Text, loads),
        Text(_about_latency(picture.window, is_wide), style="dim"),
    ]
    taken = 5 + sum(len(state.replicas) + len(state.kinds) for state in picture.services)
    taken += sum(len(textwrap.wrap(sentence, width)) for sentence in loads)
    said = [f"- {sentence}" for sentence in wrong]
    shown = said if height is None else _as_many_as_fit(said, width, height - taken)
    return Group(
        Text(verdict.name.lower(), style=_COLOURS[verdict]), *(Text(line, style="yellow") for line in shown), *below
    )


def load_sentence(state: ServiceState, now: float) -> str:
    """What the store's ledger says of the newest load, over all kinds; empty where it knows none."""
    loads = {kind.kind: kind.load for kind in state.kinds if kind.load is not None}
    if not loads:
        return ""
    newest = max(load.load for load in loads.values())
    of_it = [load for load in loads.values() if load.load == newest]
    states = Counter(load.state for load in of_it)
    said = [f"{name} {count} of {len(state.kinds)}" for name, count in sorted(states.items())]
    said += [f"{sum(load.outcomes[name] for load in of_it):,} {name}" for name in ("new", "changed", "unchanged")]
    if missing := sum(load.missing for load in of_it):
        said.append(f"{missing:,} missing")
    if checked := min(load.checked for load in of_it):
        said.append(f"checked {_roughly(max(0.0, now - checked))} ago")
    return f"{state.service}: load {newest} {', '.join(said)}"


def _as_many_as_fit(lines: Sequence[str], width: int, height: int) -> list[str]:
    shown: list[str] = []
    left = max(3, height)
    for line in lines:
        left -= len(textwrap.wrap(line, width))
        if left < (0 if line is lines[-1] else 1):
            return [*shown, f"- and {len(lines) - len(shown)} more, which spindle status --json lists"]
        shown.append(line)
    return shown


def _places(picture: Picture, is_wide: bool) -> Table:
    table = Table.grid(padding=(0, 2 if is_wide else 1))
    table.add_row("rabbitmq", escape(picture.broker.address), "", _broker(picture))
    for state in picture.services:
        for replica in state.replicas:
            ready = "[green]ready[/]" if replica.is_ready else "[red]not ready[/]"
            table.add_row(
                state.service,
                replica.address,
                ready if replica.answers else "[bold red]no answer[/]",
                _store(state, state.breakers.get(replica.address), is_wide) if replica.answers else "",
            )
    return table


def _broker(picture: Picture) -> str:
    if not picture.broker.is_reachable:
        return "[bold red]no answer[/]"
    return f"[red]no {' and no '.join(picture.broker.alarms)} left[/]" if picture.broker.alarms else "[green]ok[/]"


def _store(state: ServiceState, breaker: Breaker | None, is_wide: bool) -> str:
    """Whether a replica can write to its store. `breaker`: None if it does not tell of its own."""
    if not state.store:
        return "[red]no store yet[/]"
    is_open = state.breaker_open if breaker is None else breaker.state is not BreakerState.CLOSED
    if not is_open:
        return f"{state.store} [green]ok[/]"
    trials = f" {_trials(breaker)}" if is_wide and breaker is not None and breaker.failures else ""
    return f"{state.store} [red]unavailable{', needs a person' if state.alarm else ''}[/]{trials}"


def _trials(breaker: Breaker) -> str:
    failures = f"{breaker.failures:,} failure{'s' if breaker.failures > 1 else ''}"
    then = f", next trial in {_short(breaker.next_trial)}" if breaker.next_trial else ""
    return f"({breaker.state}, {failures}{then})"


def _kinds(picture: Picture, is_wide: bool) -> Table:
    padding = (0, 1) if is_wide else (0, 1, 0, 0)
    table = Table("service", "kind", box=None, pad_edge=False, padding=padding)
    for heading in _HEADINGS if is_wide else _FEWER:
        table.add_column(heading, justify="right", no_wrap=True)
    for state in picture.services:
        for kind in state.kinds:
            how = (_count, _duration) if is_wide else (_rounded, _roughly)
            cells = dict(zip(_HEADINGS, _cells(kind, picture, *how), strict=True))
            table.add_row(state.service, kind.kind, *(cells[name] for name in (_HEADINGS if is_wide else _FEWER)))
    return table


_HEADINGS = ("records/s", "waiting", "unacked", "time left", "in flight", "p50", "p95", "p99", "dead", "in DLQ")
_FEWER = ("records/s", "waiting", "unacked", "time left", "p50", "p99", "in DLQ")


def _about_latency(window: float | None, is_wide: bool) -> str:
    since = (
        "since the services began, where they settle any now" if window is None else f"in the last {_duration(window)}"
    )
    if is_wide:
        return f"p50, p95, p99: from publish to commit, of the records {since}"
    return f"p50, p99: publish to commit, {since.partition(',')[0]}"


def _cells(
    kind: KindState, picture: Picture, count: Callable[[int | None], str], duration: Callable[[float], str]
) -> Iterator[str]:
    yield count(round(kind.rate))
    yield count(kind.ready)
    yield count(kind.unacknowledged if picture.broker.is_reachable else None)
    yield duration(kind.eta) if kind.eta is not None else "?"
    yield count(kind.in_flight)
    # How long records took in a load of last week is no answer to how long they take.
    yield from _latencies(kind.latency if kind.rate or picture.window is not None else None)
    yield count(kind.outcomes["dead_lettered"])
    yield count(kind.dead_letters)


def _rounded(count: int | None) -> str:
    """Say a number in seven characters or fewer."""
    if count is None or count < 1_000_000:
        return _count(count)
    return f"{count / 1e6:.4g} M"


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _latencies(latency: Latency | None) -> Iterator[str]:
    if latency is None:
        return iter(("-", "-", "-"))
    return map(_short, (latency.p50, latency.p95, latency.p99))


def _short(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:,.0f} s"


def _roughly(seconds: float) -> str:
    """Say a duration in nine characters or fewer."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 600 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 100 * 3600 else f"{seconds / 86400:.0f} days"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 100:
        return f"{hours // 24} days"
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
                "breaker": _breaker_as_data(state.breakers.get(replica.address)),
            }
            for replica in state.replicas
        ],
        "kinds": {kind.kind: _kind_as_data(kind) for kind in state.kinds},
    }


def _breaker_as_data(breaker: Breaker | None) -> dict[str, Any] | None:
    if breaker is None:
        return None
    return {
        "state": breaker.state.value,
        "failures": breaker.failures,
        "next_trial_seconds": round(breaker.next_trial, 3),
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
        "paused": kind.paused or None,
        "load": kind.load and _load_as_data(kind.load),
    }


def _load_as_data(load: LoadState) -> dict[str, Any]:
    return {
        "load": load.load,
        "state": load.state,
        "announced_at": load.announced or None,
        "checked_at": load.checked or None,
        "missing": load.missing if load.checked else None,
        "published": load.published or None,
        "outcomes": dict(load.outcomes),
    }
