"""How far a load is: what was published, what each service has made of it, and since when."""

from collections import Counter
from collections.abc import Iterator, Mapping

from common.kinds import Service
from devstack.demo.counters import Movement, Scrape
from devstack.demo.result import STORES, KindResult
from devstack.demo.watching import Watch


class Progress:
    """Fed with what the services' processes say; times are seconds of one clock."""

    def __init__(self, beginning: Mapping[str, Scrape], kinds: tuple[str, ...], now: float) -> None:
        self.kinds = kinds
        self.movement = Movement(beginning)
        self.watch = Watch(self.movement, services=list(Service), kinds=kinds, now=now)
        self.published: dict[str, int] = {}
        """By kind, as far as the extractor has said; `extracted` says whether that is all."""
        self.extracted = False
        self.began = self._now = now
        self._first: dict[str, float] = {}
        self._unsettled: Counter[tuple[str, str]] = Counter()

    @property
    def is_done(self) -> bool:
        """Whether everything has been published and has come to an end in both services."""
        return self.extracted and self.watch.is_done(self.published, self._now)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._now - self.began

    def look(self, said: Mapping[str, Scrape | None], now: float) -> None:
        """Take in what each process says now; None from one that does not answer."""
        self._unsettled.clear()
        for process, scrape in said.items():
            if scrape is None:
                self.movement.lose(process)
            else:
                self.movement.observe(process, scrape)
                self._unsettled.update(scrape.unsettled)
        for kind in self.kinds:
            if kind not in self._first and self.seen(kind):
                self._first[kind] = self._now  # the last moment at which there was certainly nothing
        self._now = now
        self.watch.look(now)

    def seen(self, kind: str) -> int:
        """How many records of a kind have been published, at the least: the extractor's word comes now and then."""
        if self.extracted:
            return self.published[kind]
        reached = [self.movement.settled(service, kind) + self._unsettled[service, kind] for service in Service]
        return max(self.published.get(kind, 0), *reached)

    def behind(self) -> Iterator[str]:
        """Who is not done, for a sentence."""
        return self.watch.behind(self.published, self._now)

    def rate(self, service: str, kind: str) -> float:
        """Records per second since the kind's first was seen."""
        seconds = self.seconds(service, kind)
        return self.movement.settled(service, kind) / seconds if seconds > 0 else 0.0

    def seconds(self, service: str, kind: str) -> float:
        """From a kind's first record published to its last outcome in a service, so far."""
        return self.watch.last_outcome(service, kind) - self._first[kind] if kind in self._first else 0.0

    def result(self, service: Service, kind: str) -> KindResult:
        """What became of a kind in a service; nothing is verified yet."""
        return KindResult(
            kind=kind,
            store=STORES[service],
            published=self.published.get(kind, 0),
            outcomes=self.movement.outcomes(service, kind),
            seconds=self.seconds(service, kind),
            restarted=service in self.movement.restarted,
        )
