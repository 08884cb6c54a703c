"""What limits publishing, by what the extractor reports of itself: one limit, what shows it, and one change. Pure.

The process that cuts a kind's file and publishes uses one core at the most, and either computes or waits: for RabbitMQ,
for room in the services' queues, for its parsers, or for a core. Kinds go side by side, so the one that takes longest
is what a load waits for.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import StartRefused
from extractor.report import Ending, KindReport
from extractor.tally import Awaited
from spindle.advice.evidence import BUSY, ENOUGH, MOSTLY, Evidence

_READS_AHEAD = 0.5
"""Share of what is read that has to be parsed from which parsers read ahead (extractor/parsing/reader.py)."""


class PublishingLimit(StrEnum):
    """What can limit publishing; the names are stable."""

    PARSING = "parsing"
    PARSERS = "parsers"
    CUTTING = "cutting"
    MAKING = "making"
    CONFIRMS = "confirms"
    SERVICES = "services"
    CORE = "core"
    BALANCED = "balanced"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PublishingAdvice:
    """What was found of the kind that took longest. `seconds`: of its publishing. `rate`: messages published a second.

    `change`: empty if it would gain nothing, because something else is slower.
    """

    kind: str
    seconds: float
    rate: float
    sentence: str
    limit: PublishingLimit | None = None
    """None: there was too little to judge by."""
    evidence: tuple[Evidence, ...] = ()
    against: tuple[Evidence, ...] = ()
    change: str = ""
    unseen: str = ""
    parsers: int = 0
    """As the kind's report has it."""


def advise_publishing(reports: Sequence[KindReport], *, keeps_up: bool) -> PublishingAdvice | None:
    """Judge by the reports of the kinds, of one run or several. `keeps_up`: no service was seen to be behind.

    Returns: None if nothing was published, or nobody lived to tell how.
    """
    kinds = [each for each in _by_kind(reports) if each.rate]
    if not kinds:
        return None
    longest = max(kinds, key=lambda report: report.seconds)
    advice = replace(_advise(longest), parsers=longest.parsers)
    if advice.limit in (None, PublishingLimit.SERVICES) or keeps_up:
        return advice
    sentence = f"{advice.sentence}; but the services do not keep up with it"
    return replace(advice, sentence=sentence, change="")


def _advise(report: KindReport) -> PublishingAdvice:
    about = (report.kind, report.seconds, report.rate)
    if max(report.read, report.published) < ENOUGH:
        return PublishingAdvice(*about, f"only {report.published:,} messages, too few to judge by")
    limit = _limit(report)
    if limit in _BY_WHAT_WAS_READ and not report.read:
        return PublishingAdvice(*about, "it ended before it could tell how much of what it read it parsed")
    words = _WORDS[limit]
    shown = tuple(each(report) for each in words.shown)
    against = tuple(each(report) for each in _LOOKED_AT if each not in words.shown)
    sentence = words.sentence.format(share=f"{shown[0].value:.0%}")
    change = words.change.format(more=report.parsers + 1)
    return PublishingAdvice(*about, sentence, limit, shown, against, change, words.unseen)


def _limit(report: KindReport) -> PublishingLimit:
    for waits, limit in _WAITS.items():
        if waits(report).value >= MOSTLY:
            return limit
    own = _own(report).value
    if own < MOSTLY:
        return PublishingLimit.BALANCED
    idle = own - _cpu(report).value
    if idle > (1 - BUSY) * own:
        return PublishingLimit.CORE if _core(report).value >= MOSTLY * idle else PublishingLimit.UNKNOWN
    if report.parsers == 0:
        return PublishingLimit.MAKING
    return PublishingLimit.PARSING if _parsed(report).value >= _READS_AHEAD else PublishingLimit.CUTTING


def _share(report: KindReport, meter: str, seconds: float, bound: float, metric: str) -> Evidence:
    value = min(1.0, max(0.0, seconds) / report.seconds)
    return Evidence(f"share of the time in which {report.kind} {meter}", value, bound, metric, report.seconds)


def _broker(report: KindReport) -> Evidence:
    return _share(report, "waited for RabbitMQ", _waited(report, Awaited.BROKER), MOSTLY, "extractor: waited_seconds")


def _room(report: KindReport) -> Evidence:
    seconds = _waited(report, Awaited.ROOM)
    return _share(report, "waited for room in the queues", seconds, MOSTLY, "extractor: waited_seconds")


def _parsers(report: KindReport) -> Evidence:
    return _share(report, "waited for parsers", _waited(report, Awaited.PARSERS), MOSTLY, "extractor: waited_seconds")


def _core(report: KindReport) -> Evidence:
    meter = "was ready to compute, and no core was free"
    return _share(report, meter, _waited(report, Awaited.CORE), 1 - BUSY, "extractor: waited_seconds")


def _own(report: KindReport) -> Evidence:
    """All but what it waited for others: it computed, or would have."""
    seconds = report.seconds - sum(seconds for what, seconds in report.waited.items() if what != Awaited.CORE)
    meter = "waited neither for RabbitMQ, nor for room, nor for parsers"
    return _share(report, meter, seconds, MOSTLY, "extractor: seconds - waited_seconds")


def _cpu(report: KindReport) -> Evidence:
    value = report.cpu_seconds / report.seconds
    meter = f"CPU seconds per second of the process that publishes {report.kind}"
    return Evidence(meter, value, BUSY, "extractor: cpu_seconds", report.seconds)


def _parsed(report: KindReport) -> Evidence:
    value = report.parsed / max(1, report.read) if report.parsers == 1 else 0.0
    meter = f"share of the {report.kind} read that the same process parsed"
    return Evidence(meter, value, _READS_AHEAD, "extractor: parsed / read, parsers", report.seconds)


def _waited(report: KindReport, what: Awaited) -> float:
    return report.waited.get(what, 0.0)


class _Words(NamedTuple):
    """What is said of a limit. `shown`: what shows it, first what took most of the time."""

    sentence: str
    change: str
    unseen: str
    shown: tuple[Callable[[KindReport], Evidence], ...]


_WAITS: Mapping[Callable[[KindReport], Evidence], PublishingLimit] = {
    _broker: PublishingLimit.CONFIRMS,
    _room: PublishingLimit.SERVICES,
    _parsers: PublishingLimit.PARSERS,
}

_BY_WHAT_WAS_READ = (PublishingLimit.PARSING, PublishingLimit.CUTTING)

_LOOKED_AT = (*_WAITS, _own, _cpu, _core)

_WORDS: Mapping[PublishingLimit, _Words] = {
    PublishingLimit.PARSING: _Words(
        "for {share} of the time its process waited for nothing, and parsing is most of its work",
        "EXTRACTOR_PARSERS=2, if the machine has a core free for each",
        "whether the machine has cores free",
        (_own, _cpu, _parsed),
    ),
    PublishingLimit.PARSERS: _Words(
        "its process waited {share} of the time for its parsers",
        "EXTRACTOR_PARSERS={more}, if the machine has a core free for each",
        "whether the machine has cores free",
        (_parsers,),
    ),
    PublishingLimit.CUTTING: _Words(
        "for {share} of the time its process waited for nothing: it cut the file and published, and parsed little",
        "no setting: one process cuts a kind's file, and more parsers would gain nothing",
        "",
        (_own, _cpu, _parsed),
    ),
    PublishingLimit.MAKING: _Words(
        "for {share} of the time its process waited for nothing: it made records up",
        "no setting: one process makes up a kind's records",
        "",
        (_own, _cpu),
    ),
    PublishingLimit.CONFIRMS: _Words(
        "its process waited {share} of the time for RabbitMQ to take and to confirm messages",
        "give RabbitMQ's disk or CPU more room: quorum queues write each message before they confirm it",
        "what RabbitMQ waits for, and whether EXTRACTOR_MAX_UNCONFIRMED is too small for the way there",
        (_broker,),
    ),
    PublishingLimit.SERVICES: _Words(
        "it paused {share} of the time, because too much waited in the services' queues",
        "see what limits the services: EXTRACTOR_MAX_BACKLOG only says how much may wait",
        "",
        (_room,),
    ),
    PublishingLimit.CORE: _Words(
        "for {share} of the time its process was ready to compute, and no core was free for it",
        "a machine with more cores, or a machine for the stores or for RabbitMQ alone: all kinds, services and servers "
        "that run here share the cores",
        "who else uses the machine's cores",
        (_core, _own, _cpu),
    ),
    PublishingLimit.BALANCED: _Words(
        "nothing took most of the time: its process computed, and waited for RabbitMQ, room and parsers in turn",
        "no one thing: all of them need more of the machine to be faster",
        "who else uses the machine's cores",
        (_own, _cpu, _core, _broker, _room, _parsers),
    ),
    PublishingLimit.UNKNOWN: _Words(
        "for {share} of the time its process waited neither for RabbitMQ, nor for room in the queues, nor for parsers, "
        "and yet it computed little: the dump's disk may be slow, or no core was free",
        "see how fast the dump's disk is read, and whether the machine has a core free for it",
        "who else uses the machine's cores, and its disk",
        (_own, _cpu, _core, _broker, _room, _parsers),
    ),
}


def _by_kind(reports: Sequence[KindReport]) -> list[KindReport]:
    """One report of each kind: what was published in several rounds, together.

    A process that was killed told nothing of its work: its report, which others wrote, says neither CPU nor waiting.
    """
    together: dict[str, KindReport] = {}
    for each in (report for report in reports if report.cpu_seconds):
        before = together.get(each.kind)
        together[each.kind] = each if before is None else _added(before, each)
    return list(together.values())


def _added(one: KindReport, other: KindReport) -> KindReport:
    return replace(
        other,
        published=one.published + other.published,
        resumed=one.resumed + other.resumed,
        seconds=one.seconds + other.seconds,
        cpu_seconds=one.cpu_seconds + other.cpu_seconds,
        read=one.read + other.read,
        parsed=one.parsed + other.parsed,
        parsers=max(one.parsers, other.parsers),
        waited={what: one.waited.get(what, 0.0) + other.waited.get(what, 0.0) for what in Awaited},
    )


def read_published(path: Path) -> tuple[KindReport, ...]:
    """What the extractor wrote with `--report` or `--json`.

    Raises: StartRefused if it did not, or if it published nothing because it only checked.
    """
    try:
        report = json.loads(path.read_text())
        kinds: Mapping[str, Mapping[str, Any]] = report["kinds"]
        if report["checked_only"]:
            raise StartRefused(f"{path} is a report of `extractor --check`, which publishes nothing.")
        return tuple(
            KindReport(
                kind,
                str(said["file"]),
                Ending(said["ending"]),
                published=int(said["published"]),
                resumed=int(said["resumed"]),
                seconds=float(said["seconds"]),
                cpu_seconds=float(said["cpu_seconds"]),
                read=int(said["read"]),
                parsed=int(said["parsed"]),
                parsers=int(said["parsers"]),
                waited={what: float(said["waited_seconds"].get(what, 0.0)) for what in Awaited},
            )
            for kind, said in kinds.items()
        )
    except OSError as error:
        raise StartRefused(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StartRefused(f"{path} is no report of this version's extractor (`--report`, or its `--json`).") from error
