"""The sorts of settings: what a field takes, and the words that say so to a person."""

from collections.abc import Sequence
from typing import Any

from pydantic import BeforeValidator, ByteSize, Field, SecretStr, TypeAdapter


def text(default: str, description: str) -> Any:
    """A field that holds some text."""
    return Field(default, description=description)


def secret(default: str, description: str) -> Any:
    """A field whose value is never shown."""
    return Field(SecretStr(default), description=description)


def whole(default: int, at_least: int, at_most: int) -> Any:
    """A field that holds a whole number."""
    return Field(default, ge=at_least, le=at_most, description=f"a whole number from {at_least} to {at_most}")


def seconds(default: float, at_least: float, at_most: float) -> Any:
    """A field that holds a duration."""
    return Field(
        default,
        ge=at_least,
        le=at_most,
        allow_inf_nan=False,
        description=f"a number of seconds from {at_least:g} to {at_most:g}",
    )


def percent(default: float) -> Any:
    """A field that holds a share in percent."""
    return Field(default, ge=0, le=100, allow_inf_nan=False, description="a number of percent from 0 to 100")


def share(default: float) -> Any:
    """A field that holds a share of a whole."""
    return Field(default, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1")


def size(default: str, at_least: str, at_most: str) -> Any:
    """A field that holds a number of bytes, as such or as `8MiB`."""
    low, high = map(TypeAdapter(ByteSize).validate_python, (at_least, at_most))
    return Field(default, ge=low, le=high, description=f"a size from {at_least} to {at_most}, such as 8388608 or 8MiB")


def choice(default: Any, allowed: Sequence[str]) -> Any:
    """A field that holds one word of several."""
    return Field(default, description=f"one of {', '.join(allowed)}", examples=list(allowed))


def selection(default: Sequence[str], allowed: Sequence[str], otherwise: str = "") -> Any:
    """A field that holds several words of a list, separated by commas."""
    return Field(default, description=f"a comma-separated selection of {', '.join(allowed)}{otherwise}")


def split(value: object) -> object:
    """Take words apart at their commas; each counts once, capitals don't matter."""
    if not isinstance(value, str):
        return value
    return tuple(dict.fromkeys(word.strip().lower() for word in value.split(",") if word.strip()))


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


Lower = BeforeValidator(_lower)
