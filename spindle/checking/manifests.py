"""Manifests as a check reads them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from common.delivery import load_of
from common.errors import StartRefused
from common.kinds import KINDS
from extractor.manifest.format import ManifestRefused, path_of
from extractor.manifest.previous import Previous
from extractor.manifest.reader import Manifest
from spindle.checking.classes import Entry


class ManifestSource:
    """One kind's manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.header = manifest.header
        self.load, self.kind, self.digest = self.header.load, self.header.kind, manifest.digest
        self.records = len(manifest)
        self._manifest = manifest

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """The rows, ids ascending, from this one on."""
        for rows in self._manifest.chunks(5000, start=start):
            for row in rows:
                yield row.id, row.sha256.hex(), row.flag

    def ids(self) -> Iterator[int]:
        """The ids of all rows."""
        return self._manifest.ids()

    def prefix_of(self) -> Callable[[int], str | None]:
        """What tells of an id the first 16 hex digits of its hash; ids that come ascending cost least."""
        previous = Previous(self._manifest)

        def prefix(number: int) -> str | None:
            row = previous.find(number)
            return None if row is None else row.sha256.hex()

        return prefix

    def remarks(self) -> Iterator[str]:
        """What a result by this manifest does not show, a sentence each."""
        header = self.header
        if header.ids_only:
            yield f"{self.kind}: the manifest has ids only: content was not compared"
        if header.unknown_skipped:
            yield f"{self.kind}: {header.unknown_skipped:,} records of the dump were skipped whose ids nobody knows"
        if not header.is_whole:
            yield f"{self.kind}: the dump's checksum is {header.checksum}: nothing shows that it is the published file"


@contextmanager
def open_manifests(folder: Path, load: str, kinds: Sequence[str]) -> Iterator[list[ManifestSource]]:
    """The manifests of a load, kind by kind.

    Raises: StartRefused with a sentence for each that can't be used.
    """
    problems, sources = [], []
    with ExitStack() as stack:
        for kind in kinds:
            try:
                sources.append(
                    ManifestSource(
                        stack.enter_context(Manifest.open(path_of(folder, load, kind), load=load, kind=kind))
                    )
                )
            except ManifestRefused as error:
                problems.append(str(error))
        if problems:
            raise StartRefused("\n".join(problems))
        yield sources


def loads_in(folder: Path) -> dict[str, list[str]]:
    """The loads that a folder has manifests of, each with its kinds, the oldest first.

    Raises: StartRefused if it is no folder.
    """
    if not folder.is_dir():
        raise StartRefused(f"{folder} is not a folder with manifests; SPINDLE_STATE names it.")
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.*.manifest")):
        load, _, kind = path.name.removesuffix(".manifest").partition(".")
        if load_of(load) and kind in KINDS:
            found.setdefault(load, []).append(kind)
    return {load: [kind for kind in KINDS if kind in kinds] for load, kinds in sorted(found.items())}
