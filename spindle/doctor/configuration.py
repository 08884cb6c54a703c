"""The programs' settings, as this environment has them: whether they start with them, and what would be slow. Pure."""

from collections.abc import Iterator, Mapping

from common.errors import SettingsError
from common.ops.checks import Check, Findings
from common.settings.environment import Settings, load, misspelt, variables
from common.settings.programs import ConsumerProgramSettings
from common.settings.stores import StoreSettings
from extractor.settings import ExtractorSettings
from graphinator.settings import GraphinatorSettings
from spindle.settings import OperatorSettings
from tableinator.settings import TableinatorSettings

CONSUMERS: Mapping[str, type[ConsumerProgramSettings]] = {
    "graphinator": GraphinatorSettings,
    "tableinator": TableinatorSettings,
}
_NAME = "settings"


def settings_checks(environ: Mapping[str, str]) -> Iterator[Check]:
    """A check per program, and per variable that is not read but looks as if it was meant to be."""
    for program, model in CONSUMERS.items():
        yield from _consumer(program, model, environ)
    found = Findings("extractor")
    try:
        extractor = load(ExtractorSettings, environ)
    except SettingsError as error:
        yield from _refused("extractor", error)
    else:
        yield found.ok(
            _NAME, f"It pauses while {extractor.extractor_max_backlog:,} messages wait in all queues together."
        )
    yield from _operator(environ)
    yield from _misspelt(environ)


def _operator(environ: Mapping[str, str]) -> Iterator[Check]:
    try:
        asked = load(OperatorSettings, environ).places
    except SettingsError as error:
        yield from _refused("spindle", error)
        return
    places = ", ".join(place for each in asked.values() for place in each) or "no service"
    yield Findings("spindle").ok(_NAME, f"Status asks {places}.")


def _consumer(program: str, model: type[ConsumerProgramSettings], environ: Mapping[str, str]) -> Iterator[Check]:
    found = Findings(program)
    try:
        settings = load(model, environ)
    except SettingsError as error:
        yield from _refused(program, error)
        return
    store = settings.store
    prefetch = f"prefetch {store.prefetch:,}"
    yield found.ok(_NAME, f"Batches of {store.batch_size:,}, writers {store.writers}, {prefetch}.")
    yield from _slow(found, store)


def _slow(found: Findings, store: StoreSettings) -> Iterator[Check]:
    if store.batch_size == 1:
        why = store.variable("batch_mode" if not store.batch_mode else "batch_size")
        yield found.warning(_NAME, f"One record per transaction, which is a fraction of the speed: see {why}.")
    elif store.prefetch < (store.writers + 2) * store.batch_size:
        prefetch = store.variable("prefetch")
        yield found.warning(
            _NAME,
            f"{prefetch} is {store.prefetch}: no batch fills while all writers write; "
            f"leave it empty, or set {(store.writers + 2) * store.batch_size}.",
        )


def _refused(program: str, error: SettingsError) -> Iterator[Check]:
    for sentence in str(error).splitlines():
        yield Findings(program).failed(_NAME, sentence)


def _misspelt(environ: Mapping[str, str]) -> Iterator[Check]:
    models: tuple[type[Settings], ...] = (*CONSUMERS.values(), ExtractorSettings, OperatorSettings)
    # What one program does not read may be another's.
    known = {spelling for model in models for name, _ in variables(model) for spelling in (name, f"{name}_FILE")}
    unknown = {name: value for name, value in environ.items() if name not in known}
    for sentence in sorted({sentence for model in models for sentence in misspelt(model, unknown)}):
        yield Findings("environment").warning(_NAME, sentence)
