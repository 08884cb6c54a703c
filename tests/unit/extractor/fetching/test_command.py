"""`extractor fetch` as a person and a program see it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

from tests.servers.dump_site import ARTISTS, CHECKSUM, KINDS, MONTH, Request, Site, published

BODIES = {kind: kind.encode() for kind in KINDS}


def _start(site: Site, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "extractor", "fetch", "--month", MONTH, *arguments],
        env={
            "PATH": os.environ["PATH"],
            "EXTRACTOR_FETCH_URL": site.url,
            "EXTRACTOR_FETCH_FOLDER": str(folder),
            "EXTRACTOR_FETCH_RESERVE": "0B",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(site: Site, folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = _start(site, folder, *arguments)
    said, logged = process.communicate(timeout=60)
    return process.returncode, said, logged


def test_the_exit_code_says_whether_the_month_is_there(tmp_path: Path) -> None:
    with published(BODIES) as site:
        sums = site.files.pop(CHECKSUM)
        early = _run(site, tmp_path)
        site.files[CHECKSUM] = sums
        late = _run(site, tmp_path, "--json")
        site.page = b"<title>Log in</title>"
        lost = _run(site, tmp_path)

    assert early[:2] == (3, f"{MONTH}: not yet: 4 of 5, without {CHECKSUM}\n"), early
    report = json.loads(late[1])
    assert (late[0], report["state"], len(report["listed"])) == (0, "complete", 5), late
    assert [file["fetched"] for file in report["files"]] == [True] * 4
    assert (lost[0], "its title is 'Log in'" in lost[2], "Traceback" in lost[2]) == (2, True, False), lost


def test_sigterm_ends_it_and_what_came_is_kept(tmp_path: Path) -> None:
    begun, over = Event(), Event()

    def stall(request: Request, body: bytes) -> None:
        request.answer(200, body[:3], {"Content-Length": str(len(body))})
        begun.set()
        over.wait(60)

    with published(BODIES) as site:
        site.misdeeds[ARTISTS] = [stall]
        process = _start(site, tmp_path)
        assert begun.wait(60)
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=60)
        over.set()

    assert process.returncode == 143
    assert "Interrupted: the month is not complete" in logged
    assert "Traceback" not in logged
    assert (tmp_path / f"{ARTISTS}.part").exists()
    assert not (tmp_path / ARTISTS).exists()
