"""From environment variables to a settings model, or to sentences that say what is wrong with them.

A variable's name is its model's `env_prefix` and the field's name, in capitals; what is allowed is the field's
`description`. So a model is also the list of its variables, and `.env.example` is tested against it.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from common.errors import SettingsError
from common.settings.secret_files import FileSecret, FromFile

_SHOWN = 100  # characters of a wrong value that a sentence repeats


class Settings(BaseSettings):
    """A frozen model; its fields are variables, or further models."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take nothing unasked: `load` reads the environment, once, files included."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _read_again(cls, value: object, info: ValidationInfo) -> object:
        is_secret = info.field_name and cls.model_fields[info.field_name].annotation is SecretStr
        return FileSecret(value) if is_secret and isinstance(value, FromFile) else value

    @classmethod
    def variable(cls, field: str) -> str:
        """Name the variable of one of this model's own fields."""
        return f"{cls.model_config.get('env_prefix', '')}{field}".upper()


S = TypeVar("S", bound=Settings)


def load(settings: type[S], environ: Mapping[str, str]) -> S:
    """Read a model's variables, each also from the file that `<NAME>_FILE` names. An empty variable is an unset one.

    Raises: SettingsError with one sentence per line, one line per problem.
    """
    problems: list[str] = []
    values = _read(settings, environ, problems)
    try:
        loaded = settings(**values)
    except ValidationError as error:
        # A default that could not be computed is the consequence of another problem, not one of its own.
        details = [each for each in error.errors() if each["type"] != "default_factory_not_called"]
        problems += [_sentence(settings, values, each) for each in details]
    if problems:
        # Outside of the except clause: pydantic's own text repeats its input, which may be a secret.
        raise SettingsError("\n".join(problems))
    return loaded


def variables(settings: type[Settings]) -> Iterator[tuple[str, FieldInfo]]:
    """Every variable that a model reads, by name, those of its inner models included."""
    for name, field in settings.model_fields.items():
        inner = _inner(field)
        if inner is None:
            yield settings.variable(name), field
        else:
            yield from variables(inner)


def misspelt(settings: type[Settings], environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that is not read, but looks as if it was meant to be."""
    known = [spelling for name, _ in variables(settings) for spelling in (name, f"{name}_FILE")]
    # 0.85 finds POSTGRES_BATCHSIZE and POSTGRES_USER, and leaves NEO4J_PORT in tableinator's environment alone.
    return [
        f"{name} is not a setting and changes nothing; the nearest one is {nearest}."
        for name in sorted(environ.keys() - known)
        for nearest in difflib.get_close_matches(name, known, n=1, cutoff=0.85)
    ]


def _read(settings: type[Settings], environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    """What is set of a model's variables, by field; what can't be read is described in `problems`."""
    values: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        inner = _inner(field)
        try:
            value = _look_up(settings.variable(name), environ) if inner is None else _read(inner, environ, problems)
        except SettingsError as problem:
            problems.append(str(problem))
        else:
            if value:
                values[name] = value
    return values


def _look_up(name: str, environ: Mapping[str, str]) -> str:
    value, path = environ.get(name, ""), environ.get(f"{name}_FILE", "")
    if value and path:
        raise SettingsError(f"{name} and {name}_FILE are both set; allowed is one of them.")
    return _read_file(f"{name}_FILE", path) if path else value


def _read_file(name: str, path: str) -> str:
    try:
        return FromFile(Path(path))
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except ValueError as error:
        reason = str(error)
    # Whoever mistakes the variable puts the secret itself there.
    shown = repr(path) if path.startswith("/") else "a path that is not shown here"
    raise SettingsError(f"{name} is {shown} ({reason}); allowed is a file that holds the value.")


def _sentence(settings: type[Settings], values: dict[str, Any], problem: ErrorDetails) -> str:
    """Say which variable is wrong, what it is and what is allowed."""
    for key in map(str, problem["loc"]):
        field = settings.model_fields[key]
        inner = _inner(field)
        if inner is None:
            return f"{settings.variable(key)} {_shown(field, values.get(key))}; allowed is {field.description}."
        settings, values = inner, values.get(key, {})
    # Several variables do not fit together: the model's own validator wrote the sentence.
    return str(problem.get("ctx", {}).get("error", problem["msg"]))


def _shown(field: FieldInfo, value: str | None) -> str:
    if value is None:
        return "is not set"
    if field.annotation is SecretStr or isinstance(value, FromFile):
        return "has a value that is not shown here"
    # What stands before an @ may be a password that somebody put into a host.
    shown = f"***@{value.rpartition('@')[2]}" if "@" in value else value
    return f"is {shown!r}" if len(shown) <= _SHOWN else f"is {shown[:_SHOWN]!r}…"


def _inner(field: FieldInfo) -> type[Settings] | None:
    return field.annotation if isinstance(field.annotation, type) and issubclass(field.annotation, Settings) else None
