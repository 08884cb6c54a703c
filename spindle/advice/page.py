"""A report as one HTML page: everything is in it, it names no address, and it needs no script. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from typing import Any

from spindle.advice.plots import Band, Line, Plot, clock, figure
from spindle.advice.report import COMPARED, Report


def _count(value: float, of: float) -> str:
    if of >= 10_000:
        unit, size = ("M", 1e6) if of >= 1e6 else ("k", 1e3)
        return f"{value / size:.3g} {unit}" if value else "0"
    return f"{value:,.0f}" if of >= 10 or value == round(value) else f"{value:.2g}"


def _time(value: float, of: float) -> str:
    if not value:
        return "0"
    if of >= 120:
        return f"{value / 60:.3g} min"
    return f"{value:.3g} s" if of >= 1 else f"{value * 1000:.3g} ms"


def _share(value: float, _: float) -> str:
    return f"{value:.0%}"


def _bytes(value: float, _: float) -> str:
    return f"{value / 2**20:,.0f} MiB"


PLOTS: Sequence[Plot] = (
    Plot("Throughput, records/s", [Line("rate", "settled")], _count),
    Plot("Queue depth, messages", [Line("queue", "waiting")], _count),
    Plot(
        "Publish to commit",
        [Line("p99", "p99", 3), Line("p95", "p95", 2), Line("p50", "p50", 1)],
        _time,
    ),
    Plot(
        "Errors per second",
        [Line("dead_lettered", "dead letters", 4), Line("failed", "failed transactions", 2)],
        _count,
    ),
    Plot("How busy", [Line("writing", "writers, in transactions", 1), Line("cpu", "our CPU, cores", 2)], _share, top=1),
    Plot(
        "What transactions do in the store",
        [
            Line("in_computes", "compute", 1),
            Line("in_disk", "disk", 2),
            Line("in_locks", "locks", 4),
            Line("in_client", "wait for us", 3),
            Line("in_other", "other", 5),
        ],
        _share,
        top=1,
    ),
    Plot("Batch size, records", [Line("batch_limit", "the most", 5), Line("batch", "mean", 1)], _count),
    Plot("Hash hits: found unchanged", [Line("hash_hits", "share of records", 1)], _share, top=1),
    Plot("Memory of the largest replica", [Line("memory", "resident", 1)], _bytes, unit=2**20),
    Plot("RabbitMQ's memory", [Line("broker_memory", "of its ceiling", 1)], _share, top=1),
)

_HEALTHY = ("publisher", "nothing_to_do")


def page_of(report: Report) -> str:
    """The whole page."""
    title = f"Spindle: {report['title']}" if report["title"] else "Spindle: what limits it"
    began = datetime.fromisoformat(report["began"])
    body = f"<p>Can't see {escape(report['unseen'])}.</p>" if report["unseen"] else ""
    body += _publishing(report.get("publishing"))
    body += "".join(_service(name, each, report) for name, each in report["services"].items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_style()}</style></head><body>"
        f"<header><h1>{escape(title)}</h1><p>{began:%Y-%m-%d %H:%M:%S} UTC, {clock(report['seconds'])}"
        f" · {escape(report['source'])} · Spindle {escape(report['spindle'])}</p></header>"
        f"<main>{body}</main></body></html>\n"
    )


def _style() -> str:
    return files("spindle.advice").joinpath("page.css").read_text(encoding="utf-8")


def _publishing(publishing: Mapping[str, Any] | None) -> str:
    """What limited those who published, if that is known."""
    if publishing is None:
        return ""
    about = f"{publishing['kind']}, {clock(publishing['seconds'])}, {publishing['rate']:,.0f} messages/s"
    limit = (publishing["limit"] or "not judged").replace("_", " ")
    rows = [
        ("change", escape(_sentence(publishing["change"]))),
        ("shown by", _evidence(publishing["evidence"])),
        ("looked at", _evidence(publishing["against"])),
        ("can't see", escape(_sentence(publishing["unseen"]))),
    ]
    return (
        f'<section><h2>publishing <span class="badge unknown">{escape(limit)}</span></h2>'
        f'<p class="verdict">{escape(_sentence(publishing["sentence"]))}</p>'
        f'<article class="plain"><h3>{escape(about)}</h3>{_listed(rows)}</article></section>'
    )


def _service(name: str, service: Mapping[str, Any], report: Report) -> str:
    seconds = max(report["seconds"], 0.1)
    bands = [
        Band(phase["begin"], phase["end"], "limited")
        for phase in service["phases"]
        if phase["limit"] and phase["limit"] not in _HEALTHY
    ]
    # Where all of it is limited by one thing, a band tells nothing.
    bands = bands if len(service["phases"]) > 1 else []
    state = "limited" if service["findings"] else "healthy" if service["judged"] else "unknown"
    parts = [
        f'<section><h2>{escape(name)} <span class="badge {state}">{_badge(service)}</span></h2>',
        f'<p class="verdict">{escape(_sentence(service["verdict"]))}</p>',
        f"<p>Can't see in the store: {escape(service['unseen'])}</p>" if service["unseen"] else "",
        _timeline(service["phases"], seconds),
        *(_finding(each, is_said=each["sentence"] in service["verdict"]) for each in service["findings"]),
        _against(report.get("against", {}).get("services", {}).get(name), report),
        '<div class="plots">',
        *(figure(plot, service["series"], seconds, bands) for plot in PLOTS),
        "</div>",
        _aside(service["not_the_limit"]),
        "</section>",
    ]
    return "".join(parts)


def _badge(service: Mapping[str, Any]) -> str:
    return escape((service["limit"] or "not judged").replace("_", " "))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _timeline(phases: Sequence[Mapping[str, Any]], seconds: float) -> str:
    """What limited when: a bar, and its parts in words."""
    if len(phases) < 2:
        return ""
    bar = "".join(
        f'<i class="{_kind(phase)}" style="width:{100 * (phase["end"] - phase["begin"]) / seconds:.2f}%"></i>'
        for phase in phases
    )
    rows = "".join(
        f'<tr><td class="time"><i class="{_kind(phase)}"></i>{clock(phase["begin"])} – {clock(phase["end"])}</td>'
        f'<td class="number">{phase["rate"]:,.0f}/s</td><td>{escape(_sentence(phase["sentence"]))}</td></tr>'
        for phase in phases
    )
    return (
        f'<div class="timeline">{bar}</div><details{_open(phases)}><summary>What limited when</summary>'
        f"<table>{rows}</table></details>"
    )


def _open(phases: Sequence[Mapping[str, Any]]) -> str:
    return " open" if len(phases) <= 6 else ""


def _kind(phase: Mapping[str, Any]) -> str:
    if phase["limit"] is None:
        return "unknown"
    return "healthy" if phase["limit"] in _HEALTHY else "limited"


def _finding(finding: Mapping[str, Any], *, is_said: bool) -> str:
    """`is_said`: its sentence stands in the verdict above."""
    gain = "" if finding["gain"] is None else f" <em>Up to {finding['gain']:,.0f} records/s more.</em>"
    rows = [
        ("change", f"{escape(_sentence(finding['change']))}.{gain}"),
        ("shown by", _evidence(finding["evidence"])),
        ("looked at", _evidence(finding["against"])),
        ("can't see", escape(_sentence(finding["unseen"]))),
    ]
    heading = "" if is_said else f"<h3>{escape(_sentence(finding['sentence']))}</h3>"
    return f'<article>{heading}<p class="share">{finding["limit"].replace("_", " ")}</p>{_listed(rows)}</article>'


def _listed(rows: Sequence[tuple[str, str]]) -> str:
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows if text)
    return f"<dl>{listed}</dl>"


def _evidence(evidence: Sequence[Mapping[str, Any]]) -> str:
    if not evidence:
        return ""
    items = "".join(
        f"<li>{escape(each['meter'])} <b>{each['value']:.2f}</b> <small>bound {each['bound']:g}, over "
        f"{clock(each['window'])}: <code>{escape(each['metric'])}</code></small></li>"
        for each in evidence
    )
    return f"<ul>{items}</ul>"


def _aside(evidence: Sequence[Mapping[str, Any]]) -> str:
    if not evidence:
        return ""
    return f'<details class="aside"><summary>Not the limit</summary>{_evidence(evidence)}</details>'


def _against(difference: Mapping[str, Any] | None, report: Report) -> str:
    """Beside an earlier report."""
    if not difference:
        return ""
    before, now = ((limit or "not judged").replace("_", " ") for limit in difference["limit"])
    rows = [f"<tr><td>limit</td><td>{escape(before)}</td><td>{escape(now)}</td><td></td></tr>", *_numbers(difference)]
    began = f"{datetime.fromisoformat(report['against']['began']):%Y-%m-%d %H:%M} UTC"
    return (
        f"<details open><summary>Against {escape(report['against']['title'] or 'the report')} of {began}</summary>"
        '<table class="numbers"><tr><th></th><th>before</th><th>now</th><th>ratio</th></tr>'
        f"{''.join(rows)}</table></details>"
    )


def _numbers(difference: Mapping[str, Any]) -> Iterator[str]:
    for key, each in difference["numbers"].items():
        ratio = "" if each["ratio"] is None else f"{each['ratio']:.2f}"
        yield (
            f"<tr><td>{escape(COMPARED[key])}</td><td>{each['before']:,.4g}</td><td>{each['now']:,.4g}</td>"
            f"<td>{ratio}</td></tr>"
        )
