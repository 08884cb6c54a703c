"""The JSON schema of all settings, from their models: for editors, which complete names."""

from typing import Any, get_args

from annotated_types import Ge, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from common.settings.environment import variables
from spindle.reference import PROGRAMS

_SORTS = {bool: "boolean", int: "integer", float: "number"}


def schema() -> dict[str, object]:
    """A JSON schema of an object whose members are the variables, as in an env file, in compose or a chart's values.

    Bounds hold for numbers. A text is taken as it is: what is allowed of texts (`8MiB`, any case) only the programs can
    tell, which `spindle lint` asks. None and an empty text are an unset variable.
    """
    known: dict[str, list[FieldInfo]] = {}
    for model in PROGRAMS.values():
        for name, field in variables(model):
            known.setdefault(name, []).append(field)
    members: dict[str, object] = {}
    for name, fields in sorted(known.items()):
        members[name] = member = _member(fields[0])
        if any(_member(each).get("default") != member.get("default") for each in fields):
            del member["default"]  # each program has its own
        members[f"{name}_FILE"] = {"type": ["string", "null"], "description": f"a file that holds the value of {name}"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Spindle's settings",
        "type": "object",
        "properties": members,
    }


def _member(field: FieldInfo) -> dict[str, object]:
    sort = _sort(field.annotation)
    member: dict[str, object] = {
        "type": ["string", *([sort] if sort else []), "null"],
        "description": field.description or "",
    }
    for bound in field.metadata:
        if isinstance(bound, Ge):
            member["minimum"] = bound.ge
        elif isinstance(bound, Le):
            member["maximum"] = bound.le
    if field.examples:
        member["examples"] = field.examples
    if field.annotation is SecretStr:
        member["writeOnly"] = True
    elif field.default_factory is None and (shown := _shown(field.default)) not in (None, ""):
        member["default"] = shown
    return member


def _sort(annotation: Any) -> str | None:
    """The sort of JSON value that a variable may have besides a text."""
    found = [
        name
        for each in (annotation, *get_args(annotation))
        if isinstance(each, type)
        for base, name in _SORTS.items()
        if issubclass(each, base)
    ]
    return found[0] if found else None


def _shown(default: object) -> object:
    return ",".join(map(str, default)) if isinstance(default, tuple) else default
