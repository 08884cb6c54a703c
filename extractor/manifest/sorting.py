"""Bring rows into the order of their ids, in memory that does not grow with them: sorted runs, merged."""

import hashlib
import heapq
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import IO

from extractor.manifest.format import HEADER_BYTES, ROW, SKIPPED

_RUN_ROWS = 500_000
"""Rows that are sorted in memory: about 30 MB. All releases make 40 runs."""

_ID = itemgetter(slice(0, 4))
"""The id as bytes, which compare as the numbers do: the first is the most significant."""


def sort_rows(blocks: Iterable[bytes], target: Path, *, run_rows: int = _RUN_ROWS) -> tuple[int, str]:
    """Write the rows of `blocks` to a file, behind room for a header: ids ascending, each once.

    Of several rows of an id the last counts, as it does in the stores; one that was skipped only if all were.
    Returns: how many there are, and their digest.
    """
    count, digest = 0, hashlib.sha256()
    with ExitStack() as stack, target.open("wb") as file:
        file.write(bytes(HEADER_BYTES))
        runs = [stack.enter_context(_sorted_run(rows, target.parent)) for rows in _batches(_rows(blocks), run_rows)]
        for _, rows in groupby(heapq.merge(*map(_rows_of, runs), key=_ID), key=_ID):
            row = _last_that_counts(list(rows))
            file.write(row)
            digest.update(row)
            count += 1
    return count, digest.hexdigest()


def _rows(blocks: Iterable[bytes]) -> Iterator[bytes]:
    return chain.from_iterable((block[at : at + ROW.size] for at in range(0, len(block), ROW.size)) for block in blocks)


def _batches(rows: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _sorted_run(rows: list[bytes], folder: Path) -> IO[bytes]:
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (the caller closes it)
    rows.sort(key=_ID)  # stable: rows of one id stay in the dump's order
    file.writelines(rows)
    file.seek(0)
    return file


def _rows_of(run: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: run.read(ROW.size), b"")


def _last_that_counts(rows: Sequence[bytes]) -> bytes:
    return next((row for row in reversed(rows) if row[-1] != SKIPPED), rows[-1])
