"""The few failures that the runtime handles.

    SpindleError
    ├── SettingsError            a setting is wrong: exit 2
    ├── StartRefused             the environment can't be used as it is: exit 2
    ├── DecodeError              a delivery holds no record: dead letter
    ├── BrokerUnavailable        wait and connect again
    └── SinkError
        ├── RecordsRefused       the store refuses some of the records: isolate
        ├── BatchTooLarge        fewer records at once
        ├── WriteConflict        another writer was in the way: the same batch again
        └── StoreUnavailable     hold

Drivers' exceptions become one of these in the module that imports the driver, and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a delivery was dead-lettered: a closed set, used in headers and as a metric's label."""

    NOT_JSON = "not_json"
    NO_USABLE_ID = "no_usable_id"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_CONTROL = "invalid_control"
    PROJECTION_FAILED = "projection_failed"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a store, or our own code, said about a record it can't take.

    `text` may hold the record's content: it belongs into a dead letter's headers and never into a log.
    """

    error_class: str
    code: str
    text: str

    @property
    def what(self) -> str:
        """Class and code: what may be logged and kept."""
        return _what(self.error_class, self.code)


class SpindleError(Exception):
    """Whatever the runtime raises on purpose."""


class SettingsError(SpindleError):
    """A setting is wrong; the text names the variable, the value and what is allowed."""


class StartRefused(SpindleError):
    """Something outside can't be used as it is; the text says what, why and how to fix it."""


class BrokerUnavailable(SpindleError):
    """The broker can't be reached, or ended the connection; the text says which address and why."""


class DecodeError(SpindleError):
    """A delivery holds no record that could ever be stored."""

    def __init__(self, reason: Reason, text: str, *, error_class: str = "DecodeError", record_id: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self.refusal = Refusal(error_class, "", text)
        self.record_id = record_id


class SinkError(SpindleError):
    """A batch was not written, or not known to have been.

    `error_class`, `code`: of the error behind it (`DeadlockDetectedError`, `40P01`), as far as it has them. They may be
    logged and kept, its text may show a record.
    """

    def __init__(self, message: str = "", *, error_class: str = "", code: str = "") -> None:
        super().__init__(message)
        self.error_class, self.code = error_class or type(self).__name__, code

    @property
    def what(self) -> str:
        """Class and code."""
        return _what(self.error_class, self.code)


class RecordsRefused(SinkError):
    """The store refuses records of this batch; nothing of the batch was stored.

    `positions`: indices into the batch, if the store named them; None if it did not (then halve).
    `certain`: the error is by its class the data's; otherwise the rule of evidence decides.
    """

    def __init__(self, refusal: Refusal, *, positions: Sequence[int] | None, certain: bool) -> None:
        super().__init__(refusal.what, error_class=refusal.error_class, code=refusal.code)
        self.refusal = refusal
        self.positions = tuple(positions) if positions is not None else None
        self.certain = certain


class BatchTooLarge(SinkError):
    """The store can't take this many at once. A record that is too large alone is raised as `RecordsRefused`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.what, error_class=refusal.error_class, code=refusal.code)
        self.refusal = refusal


class WriteConflict(SinkError):
    """Another writer was in the way (deadlock, serialization, constraint race): the same batch again, at once."""


class StoreUnavailable(SinkError):
    """The store can't be written to now. Holding loses nothing.

    The message says what is the matter, for the log; `alarm` is a sentence for the operator if a person must act
    (a missing table, a refused login), None if waiting is enough. `pause`: from and to how many seconds to leave
    the store alone, where asking again soon does harm; None: as in every outage.
    """

    def __init__(
        self,
        message: str,
        *,
        alarm: str | None = None,
        pause: tuple[float, float] | None = None,
        error_class: str = "",
        code: str = "",
    ) -> None:
        super().__init__(message, error_class=error_class, code=code)
        self.alarm = alarm
        self.pause = pause


def _what(error_class: str, code: str) -> str:
    return f"{error_class} {code}".strip()
