"""What a run is to list: where the manifests go, and which load they may leave out."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import StartRefused
from extractor.loads import Load
from extractor.manifest.format import Header, ManifestRefused, path_of
from extractor.manifest.reader import Manifest
from extractor.normalising import VERSION as NORMALISER


@dataclass(frozen=True, slots=True)
class Plan:
    """How manifests are made; picklable, because each kind has its own process."""

    state: Path
    since: str = ""
    """Leave out what this load had with the same bytes."""
    ids_only: bool = False
    from_start: bool = False
    """Publish again what an interrupted run has published."""
    target: str = ""
    """Where records are published; empty if they are only read."""


def check_plan(plan: Plan, load: Load) -> None:
    """See that manifests can be written, and that the load before can be compared with.

    Raises: StartRefused, with nothing published.
    """
    try:
        plan.state.mkdir(parents=True, exist_ok=True)
        (probe := plan.state / ".probe").write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StartRefused(
            f"manifests can't be written to {plan.state}: {error.strerror}; SPINDLE_STATE has to name a folder that "
            "this program may write to"
        ) from error
    for kind in load.kinds if plan.since else ():
        open_since(plan, load.date, kind).close()


def open_known(plan: Plan, load: str, kind: str) -> Manifest | None:
    """The newest other load whose sha256 may be taken over where the bytes are the same; None if there is none.

    Only for a load that is read and not published: who publishes needs the record itself.
    """
    if plan.target or plan.ids_only:
        return None
    others = {path.name.split(".")[0] for path in plan.state.glob(f"*.{kind}.manifest")} - {load}
    for other in sorted(others, reverse=True):
        with suppress(ManifestRefused):
            manifest = Manifest.open(path_of(plan.state, other, kind), load=other, kind=kind)
            if manifest.header.normaliser == NORMALISER and not manifest.header.ids_only:
                return manifest
            manifest.close()
    return None


def open_since(plan: Plan, load: str, kind: str) -> Manifest:
    """The manifest whose records may be left out.

    Raises: ManifestRefused, with a sentence that says why they may not.
    """
    if plan.since >= load:
        raise ManifestRefused(f"--since {plan.since} is not older than the load {load} that is to be published.")
    manifest = Manifest.open(path_of(plan.state, plan.since, kind), load=plan.since, kind=kind)
    if (reason := _not_comparable(manifest.header, plan.target)) is not None:
        manifest.close()
        raise ManifestRefused(
            f"nothing may be left out since {plan.since}: {reason}. Publish the whole load, without --since."
        )
    return manifest


def _not_comparable(header: Header, target: str) -> str | None:
    """Why records that are the same may not be in the stores, or may not be the same."""
    if not header.target:
        return f"its {header.kind} were only read (spindle manifest, spindle load), and not published by the extractor"
    if header.target != target:
        return f"its {header.kind} were published to {header.target}, and this load goes to {target}"
    if not header.announced:
        return "it was not published to its end: no extraction_complete was sent"
    if header.normaliser != NORMALISER:
        return (
            f"its {header.kind} were read by version {header.normaliser} of the normaliser, and this is {NORMALISER}: "
            "the same bytes make another record now"
        )
    if header.ids_only:
        return f"the manifest of its {header.kind} has ids only (spindle manifest --ids-only), and no hashes"
    if header.duplicates:
        return f"{header.duplicates:,} of its {header.kind} have an id that came before: which one is stored is open"
    return None
