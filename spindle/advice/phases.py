"""What limited a service when: a long window is judged part by part, for what is slow in its middle is lost in a mean.

Pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from common.kinds import Service
from spindle.advice.evidence import MOSTLY, OFTEN
from spindle.advice.findings import Advice, Phase, advise, aside_of
from spindle.advice.limits import Finding, Limit
from spindle.advice.meters import Look, meters_of, why_none

LEAST = 40.0
"""Seconds below which a window is judged as a whole."""

PART = 8.0
"""Seconds of a part, at least: some batches of a slow store."""

PARTS = 30

HEALTHY = (Limit.NOTHING_TO_DO, Limit.PUBLISHER)

_OF_RECORDS = (Limit.DEAD_LETTERS, Limit.DUPLICATES)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Consecutive looks that one thing limits."""

    looks: Sequence[Look]
    limit: Limit | None

    @property
    def seconds(self) -> float:
        return self.looks[-1].at - self.looks[0].at


def judge(service: Service, looks: Sequence[Look]) -> Advice:
    """Judge a service by all looks together, and by parts of them if these differ."""
    whole = advise(service, meters_of(looks, service))
    if meters_of(looks, service) is None:
        whole = replace(whole, verdict=why_none(looks, service))
    seconds = looks[-1].at - looks[0].at
    if seconds < LEAST:
        return whole
    stretches = _stretches(service, looks, max(PART, seconds / PARTS))
    phases = tuple(_phase(service, stretch, looks[0].at) for stretch in stretches)
    if len(phases) < 2:
        return replace(whole, phases=phases)
    found = list(_findings(service, stretches, seconds))
    limits = {finding.limit for finding, _ in found}
    # What is the matter with the records is so beside whatever limits; and where no part can be judged, the whole can.
    unseen = all(stretch.limit is None for stretch in stretches)
    rest = [each for each in whole.findings if each.limit not in limits and (unseen or each.limit in _OF_RECORDS)]
    findings = (*(finding for finding, _ in found), *rest)
    meters = meters_of(looks, service)
    return replace(
        whole,
        not_the_limit=aside_of(meters, findings) if meters else (),
        verdict=_verdict(whole, found, phases),
        findings=findings,
        judged=whole.judged or bool(found),
        limit=findings[0].limit if findings else _most_of(stretches),
        phases=phases,
        behind=_is_mostly_behind(phases),
    )


def _stretches(service: Service, looks: Sequence[Look], least: float) -> list[_Stretch]:
    """Cut into parts of so many seconds, and put those together that follow each other and say the same.

    What is too little to judge by in each part may be enough in several: a standstill is one only after a while.
    """
    parts = _merged(_judged(service, part) for part in _parts(looks, least))
    return _merged(part if part.limit else _judged(service, part.looks) for part in parts)


def _judged(service: Service, looks: Sequence[Look]) -> _Stretch:
    return _Stretch(looks, advise(service, meters_of(looks, service)).limit)


def _merged(stretches: Iterable[_Stretch]) -> list[_Stretch]:
    merged: list[_Stretch] = []
    for each in stretches:
        if merged and merged[-1].limit == each.limit:
            merged[-1] = _Stretch([*merged[-1].looks, *each.looks[1:]], each.limit)
        else:
            merged.append(each)
    return merged


def _parts(looks: Sequence[Look], least: float) -> Iterator[Sequence[Look]]:
    """Each begins with the look that the one before ended with; the last may be shorter by half."""
    begin = 0
    for end in range(1, len(looks)):
        is_last = end == len(looks) - 1
        if is_last or (looks[end].at - looks[begin].at >= least and looks[-1].at - looks[end].at >= least / 2):
            yield looks[begin : end + 1]
            begin = end


def _phase(service: Service, stretch: _Stretch, begin: float) -> Phase:
    advice, meters = advise(service, meters_of(stretch.looks, service)), meters_of(stretch.looks, service)
    main = next((each for each in advice.findings if each.limit == stretch.limit), None)
    return Phase(
        begin=stretch.looks[0].at - begin,
        end=stretch.looks[-1].at - begin,
        limit=stretch.limit,
        sentence=main.sentence if main else advice.verdict,
        rate=meters.rate if meters else 0.0,
        behind=advice.behind,
    )


def _findings(
    service: Service, stretches: Sequence[_Stretch], seconds: float
) -> Iterator[tuple[Finding, tuple[_Stretch, ...]]]:
    """What limited for long enough, the longest first: as its longest stretch shows it."""
    by_limit: dict[Limit, list[_Stretch]] = {}
    for stretch in stretches:
        if stretch.limit is not None and stretch.limit not in HEALTHY:
            by_limit.setdefault(stretch.limit, []).append(stretch)
    for own in sorted(by_limit.values(), key=_seconds, reverse=True):
        if _seconds(own) < OFTEN * seconds:
            continue
        longest = max(own, key=lambda stretch: stretch.seconds)
        found = advise(service, meters_of(longest.looks, service)).findings
        # Together several parts may say something else than each alone did.
        finding = next((each for each in found if each.limit == longest.limit), None)
        if finding is not None:
            yield replace(finding, share=_seconds(own) / seconds), tuple(own)


def _verdict(whole: Advice, found: Sequence[tuple[Finding, tuple[_Stretch, ...]]], phases: Sequence[Phase]) -> str:
    if not found:
        return whole.verdict
    seconds = phases[-1].end
    rate = sum(phase.rate * (phase.end - phase.begin) for phase in phases) / seconds
    said = [f"for {_seconds(own) / seconds:.0%} of the time, {finding.sentence}" for finding, own in found]
    return f"{rate:,.0f} records/s; {'; '.join(said)}"


def _is_mostly_behind(phases: Sequence[Phase]) -> bool | None:
    judged = [phase for phase in phases if phase.behind is not None]
    if not judged:
        return None
    return sum(phase.end - phase.begin for phase in judged if phase.behind) >= MOSTLY * phases[-1].end


def _most_of(stretches: Sequence[_Stretch]) -> Limit | None:
    return max(stretches, key=lambda stretch: stretch.seconds).limit


def _seconds(stretches: Sequence[_Stretch]) -> float:
    return sum(stretch.seconds for stretch in stretches)
