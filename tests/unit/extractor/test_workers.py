"""What is said of a worker that can say nothing any more."""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection

from extractor.loads import SyntheticLoad
from extractor.publishing import Job
from extractor.report import Ending, KindReport
from extractor.settings import ExtractorSettings
from extractor.tally import Awaited
from extractor.worker import Update
from extractor.workers import Crew


def _publish_and_be_killed(pipe: Connection) -> None:
    pipe.send(Update("artists", "publishing", published=1234, skipped={"no_id": 5}, done=1, total=2))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_was_killed_is_reported_with_what_it_was_last_known_to_have_published() -> None:
    job = Job("artists", SyntheticLoad(10, seed=1), ExtractorSettings())
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_publish_and_be_killed, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    crew = Crew([])
    crew._workers[ours] = (job, process)

    said = [each for each in crew.listen() if isinstance(each, KindReport)]

    (report,) = said
    assert (report.ending, report.published, report.skipped) == (Ending.FAILED, 1234, {"no_id": 5})
    assert "was killed by SIGKILL" in report.failure
    assert "at least 1,234 messages were published" in report.failure


def _report_when_told_to_end(pipe: Connection) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pipe.send(Update("artists", "publishing", published=7, skipped={}, done=1, total=2))
    signal.sigwait({signal.SIGTERM})
    pipe.send(KindReport("artists", "a file", Ending.INTERRUPTED, published=8))


def test_what_a_worker_reports_that_was_told_to_end_is_not_lost() -> None:
    job = Job("artists", SyntheticLoad(10, seed=1), ExtractorSettings())
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_report_when_told_to_end, args=(theirs,), daemon=True)
    process.start()
    theirs.close()

    with Crew([]) as crew:
        crew._workers[ours] = (job, process)
        assert isinstance(next(each for each in crew.listen() if each), Update)

    assert [(each.kind, each.ending, each.published) for each in crew.unheard] == [("artists", Ending.INTERRUPTED, 8)]


def test_a_worker_reports_what_it_waited_for_a_core() -> None:
    job = Job("artists", SyntheticLoad(10, seed=1), ExtractorSettings(), only_check=True)

    with Crew([job]) as crew:
        (report,) = [each for each in crew.listen() if isinstance(each, KindReport)]

    assert report.ending is Ending.COMPLETE, report.failure
    assert 0.0 <= report.waited[Awaited.CORE] <= report.seconds
