"""One report per load, beside its manifests: `LOAD.report.json`, and the same for a browser."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from extractor.report import KindReport
from spindle.advice.page import page_of
from spindle.advice.report import judged, report_of
from spindle.advice.window import Window
from spindle.output import json_text


def keep(window: Window, folder: Path, load: str, published: Sequence[KindReport], *, ending: str = "") -> Path:
    """Write a load's report, in the place of an earlier one. `published`: what those say who published it. `ending`: a
    word on how it ended, if not well.

    Returns: the page's file.
    Raises: OSError.
    """
    window = replace(window, published=published)
    report = report_of(window, judged(window), title=f"load {load}{ending and f', {ending}'}")
    data, page = folder / f"{load}.report.json", folder / f"{load}.report.html"
    for path, text in ((data, json_text(report)), (page, page_of(report))):
        part = path.with_name(f"{path.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    return page
