"""Why a service of which nobody answers does not start: what it would say itself, if one looked into its log."""

from collections.abc import Iterator, Mapping

from common.errors import SettingsError
from common.kinds import Service
from common.settings.environment import load
from common.settings.programs import ProgramSettings
from graphinator.settings import GraphinatorSettings
from spindle.status.snapshot import Picture
from tableinator.settings import TableinatorSettings

_MODELS: dict[Service, type[ProgramSettings]] = {
    Service.GRAPHINATOR: GraphinatorSettings,
    Service.TABLEINATOR: TableinatorSettings,
}


def refused_settings(picture: Picture, environ: Mapping[str, str]) -> Iterator[str]:
    """Say what is wrong with the settings of services that do not answer, as far as they are known here."""
    for state in picture.services:
        if any(replica.answers for replica in state.replicas):
            continue
        try:
            load(_MODELS[state.service], environ)
        except SettingsError as error:
            yield from (f"{state.service} does not start with this: {line}" for line in str(error).splitlines())
