"""What we would declare, and how it is brought in line with what exists already.

A broker refuses a declaration that differs from what exists, and names one difference at a time. Somebody may have
had reasons for theirs, and only an empty queue could be replaced: so theirs is adopted, unless it can't be used.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from common.errors import StartRefused

_COMPLAINT = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' .* received .* but current is (?P<current>none|.*'|.*\.\.\.)$"
)
_CURRENT = re.compile(r"(?:the value )?'(?P<value>.*?)'(?: of type '(?P<named>\w+)')?$")
_NAME = re.compile(r"in(?:equivalent|valid) arg '(?P<name>[^']+)'")
_UNUSABLE = {
    ("queue", "durable"): "it is not durable: a restart of the broker would lose its records",
    ("queue", "auto_delete"): "it is deleted, with its records, when its last consumer goes",
    ("exchange", "internal"): "it is internal: nobody can publish to it",
}
_UNUSABLE_TYPES = {"stream": "it is a stream, which does not take back what is not acknowledged"}


@dataclass(slots=True)
class Declaration:
    """A queue or an exchange as we would have it; `adopt` makes it more like the one that exists."""

    what: str
    """`queue` or `exchange`."""
    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    is_compared: bool = True
    """Whether it is known how an existing one was made: only who may make it is told."""

    def adopt(self, complaint: str) -> bool:
        """Take over the value that the broker names in the text of its refusal.

        Returns: False if the text does not say enough.
        Raises: StartRefused if what exists can't be used.
        """
        named = _NAME.search(complaint)
        if named is None:
            return False
        name = named["name"]
        if (self.what, name) in _UNUSABLE:
            raise self.refused(_UNUSABLE[self.what, name])
        full = _COMPLAINT.search(complaint)
        return self._set(name, _parse(full["current"], self._ours(name)) if full else None)

    def refused(self, why: str) -> StartRefused:
        """The sentence that ends the start."""
        return StartRefused(
            f"The {self.what} {self.name!r} exists and can't be used: {why}. "
            "Delete it, or set DISCOGS_EXCHANGE_PREFIX to another prefix."
        )

    def _ours(self, name: str) -> Any:
        return self.fields.get(name, self.arguments.get(name))

    def _set(self, name: str, current: Any) -> bool:
        """Returns: False if nothing would change, so that trying again would go on forever."""
        ours = self._ours(name)
        if ours == current:
            return False
        if name == "x-queue-type" and current in _UNUSABLE_TYPES:
            raise self.refused(_UNUSABLE_TYPES[current])
        self.differences.append(f"{self.what} {self.name}: {name} is {_shown(current)}, not {_shown(ours)}")
        if name in self.fields:
            self.fields[name] = current
        elif current is None:
            del self.arguments[name]
        else:
            self.arguments[name] = current
        return True


def _parse(current: str, ours: Any) -> Any:
    """The value that exists: `none`, `the value '20' of type 'long'`, or `'20'` where the types agree."""
    match = _CURRENT.search(current)
    if match is None:
        return None
    value = match["value"]
    is_text = match["named"] == "longstr" if match["named"] else isinstance(ours, str)
    if is_text:
        return value
    if value in ("true", "false"):
        return value == "true"
    return float(value) if "." in value else int(value)


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value)
