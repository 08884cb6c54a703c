"""The settings of a store: how to reach it, and how many records at a time go there.

One number sizes everything: the prefetch covers one batch in flight per writer, one that fills and one on the wire.
"""

from typing import Any, ClassVar, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from common.settings.fields import choice, seconds, text, whole
from common.settings.tls import TlsSettings

MOST_PREFETCH = 65535  # AMQP counts it in 16 bits


def _derived_prefetch(data: dict[str, Any]) -> int:
    return int((data["writers"] + 2) * data["batch_size"])


class StoreSettings(TlsSettings):
    """How to reach a store, and how records are written to it."""

    store_name: ClassVar[str]
    """What logs and readiness call it."""

    database: str = text("", "the name of a database")
    batch_mode: bool = choice(True, ("true", "false"))
    batch_size: int = whole(500, 1, 32767)
    """Records; 1 where batch mode is off, so that there is one code for both."""
    batch_flush_interval: float = seconds(2.0, 0.01, 3600)
    batch_adaptive: bool = choice(True, ("true", "false"))
    batch_target_seconds: float = seconds(1.0, 0.01, 3600)
    writers: int = whole(1, 1, 64)
    prefetch: int = Field(default_factory=_derived_prefetch, description=f"a whole number up to {MOST_PREFETCH}")

    @property
    def batch_target(self) -> float | None:
        """What writing a batch may take, in seconds; None if the batch size is fixed."""
        return self.batch_target_seconds if self.batch_adaptive else None

    @field_validator("batch_size")
    @classmethod
    def _one_by_one(cls, batch_size: int, info: ValidationInfo) -> int:
        return batch_size if info.data.get("batch_mode", True) else 1

    @model_validator(mode="after")
    def _check_prefetch(self) -> Self:
        # Below this a writer waits for records that the broker doesn't send before others are acknowledged.
        least = (self.writers + 1) * self.batch_size
        if not least <= self.prefetch <= MOST_PREFETCH:
            raise ValueError(self._misfit(least))
        return self

    def _misfit(self, least: int) -> str:
        """Say which prefetch fits this batch size, and which batch size fits this prefetch."""
        given = "prefetch" in self.model_fields_set
        prefetch, batch_size, writers = map(self.variable, ("prefetch", "batch_size", "writers"))
        allowed = [f"{prefetch} from {least} to {MOST_PREFETCH}"] if least <= MOST_PREFETCH else []
        fitting = self.prefetch // (self.writers + 1) if given and allowed else MOST_PREFETCH // (self.writers + 2)
        if 1 <= fitting < self.batch_size:
            allowed.append(f"{batch_size} up to {fitting}")
        return (
            f"{prefetch} is {self.prefetch}{'' if given else ' (derived)'}, which does not fit {batch_size} "
            f"{self.batch_size} with {writers} {self.writers}; allowed is {' or '.join(allowed)}."
        )
