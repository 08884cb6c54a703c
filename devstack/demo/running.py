"""Carry a load through a running stack: wait for rest, extract, watch both services until they are done."""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from common.errors import SpindleError
from common.ops.scraping import Unreachable
from devstack.demo.counters import Scrape, scrape
from devstack.demo.extracting import Extraction
from devstack.demo.progress import Progress
from devstack.demo.stacks import Stack
from devstack.demo.watching import PATIENCE

INTERVAL = 0.2
"""Seconds between two looks, which is also how exact the measured times are."""

REST = 1.5
"""Seconds without work after which nothing is left of an earlier load: a consumer that is connected holds what is in
its queue within milliseconds."""


class NotDone(SpindleError):
    """Nothing happens any more, and not everything is settled; the text says who is behind."""


class Display(Protocol):
    """Where progress is shown."""

    def show(self, progress: Progress) -> None:
        """Show how far everything is."""


class Scraper:
    """Asks the services' processes; looks up their addresses again when one does not answer: restarts change them."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.addresses = stack.processes()

    def ask(self) -> dict[str, Scrape | None]:
        """What each process says now; None from one that does not answer."""
        said = {process: _ask(address) for process, address in self.addresses.items()}
        if None in said.values():
            self.addresses |= self._stack.processes()
        return said


def wait_for_rest(scraper: Scraper, say: Callable[[str], None]) -> Mapping[str, Scrape]:
    """Wait until the services are connected and have nothing to do. Returns: what they say then.

    Raises: NotDone.
    """
    last, changed, told = scraper.ask(), time.monotonic(), False
    while True:
        time.sleep(INTERVAL)
        said, now = scraper.ask(), time.monotonic()
        if said != last:
            last, changed = said, now
        resting = {process: answer for process, answer in said.items() if answer is not None and answer.idle}
        if said and len(resting) == len(said):
            if now - changed >= REST:
                return resting
            continue
        if not told:
            say("waiting for the services to finish what they have")
            told = True
        if now - changed >= PATIENCE:
            raise NotDone(f"the services are not at rest, and nothing has moved for {PATIENCE:.0f} s")


def carry(extraction: Extraction, progress: Progress, *, scraper: Scraper, display: Display) -> None:
    """Follow a load until both services are done with it.

    Raises: ExtractionFailed, NotDone.
    """
    with extraction:
        while not progress.is_done:
            published = dict(extraction.published)
            progress.extracted = progress.extracted or extraction.has_ended()
            progress.published = extraction.published
            now = time.monotonic()
            progress.look(scraper.ask(), now)
            if published != progress.published:
                progress.watch.keep_alive(now)
            display.show(progress)
            if progress.watch.is_stuck(now):
                raise NotDone(_sentence(progress, scraper))
            time.sleep(INTERVAL)


def _ask(address: str) -> Scrape | None:
    try:
        return scrape(address)
    except Unreachable:
        return None


def _sentence(progress: Progress, scraper: Scraper) -> str:
    behind = "; ".join(progress.behind()) if progress.extracted else "the extractor is not done"
    health = ", ".join(f"{address}/health/ready" for address in scraper.addresses.values())
    return f"nothing has moved for {PATIENCE:.0f} s: {behind}. Look at {health} and at the logs."
