"""One record's bytes, cut out of a dump, as a record; what can't be read is named, not fatal.

Each record is parsed alone, so that whatever is wrong with one says nothing about the next.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from lxml import etree

from common.kinds import KINDS
from extractor.message import Record
from extractor.normalising import to_record

TAGS = {kind: kind.removesuffix("s") for kind in KINDS}
"""The tag of one record of each kind."""

MAX_RECORD_BYTES = 8 * 1024 * 1024
"""A record's XML at the most: 25 times the largest known, and as a message below RabbitMQ 4's limit of 16 MiB."""


class SkipReason(StrEnum):
    """Why a record of a dump was not published: a closed set, as the report has it."""

    INVALID_UTF8 = "invalid_utf8"
    CONTROL_CHARACTER = "control_character"
    NOT_WELL_FORMED = "not_well_formed"
    NO_ID = "no_id"
    SEVERAL_IDS = "several_ids"
    NOT_CLOSED = "not_closed"
    NO_RECORD = "no_record"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Skip:
    """One record that was passed over: where in the uncompressed dump it begins, and its id if one can be made out."""

    offset: int
    reason: SkipReason
    record_id: str
    text: str


class BrokenRecord(Exception):
    """This record can't be read."""

    def __init__(self, reason: SkipReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def read_record(raw: bytes) -> Record:
    """Parse and normalise one record.

    Raises: BrokenRecord.
    """
    try:
        record = to_record(etree.fromstring(raw, _PARSER))
    except etree.XMLSyntaxError as error:
        raise BrokenRecord(_reason(raw), error.msg or "not well-formed") from error
    except RecursionError as error:
        raise BrokenRecord(SkipReason.NOT_WELL_FORMED, "elements are nested too deeply") from error
    if isinstance(record.get("id"), list):
        raise BrokenRecord(SkipReason.SEVERAL_IDS, "the record has several ids")
    if not isinstance(record.get("id"), str) or not record["id"].strip():
        raise BrokenRecord(SkipReason.NO_ID, "the record has no id")
    return record


def guess_id(raw: bytes) -> str:
    """A record's id without parsing it; empty if none can be made out where this kind of record has it."""
    found = _ID.match(raw, 0, 65536)
    return (found["attribute"] or found["element"]).decode() if found else ""


def _reason(raw: bytes) -> SkipReason:
    """Tell apart what an operator would look for; the parser's error codes differ between its versions."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return SkipReason.INVALID_UTF8
    return SkipReason.CONTROL_CHARACTER if _CONTROL.search(raw) else SkipReason.NOT_WELL_FORMED


# No entities but XML's own five, no network, nothing repaired. `huge_tree` lifts limits that an honest record may meet;
# MAX_RECORD_BYTES bounds what it lets through.
_PARSER = etree.XMLParser(
    recover=False,
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    huge_tree=True,
    remove_comments=True,
    remove_pis=True,
    encoding="utf-8",
)
# Nowhere else: the first <id> in a release is an artist's.
_ID = re.compile(
    rb"""<\w+(?:\s[^<>]*?)?\sid\s*=\s*["'](?P<attribute>\d{1,20})["']"""
    rb"""|<(?:artist|label)\s*>\s*(?:<images\s*/>|<images>.*?</images>)?\s*<id>(?P<element>\d{1,20})</id>""",
    re.DOTALL,
)
# What XML 1.0 forbids, as a byte or as a reference; a reference to TAB, LF or CR is fine.
_CONTROL = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|&#(?:0*(?:[0-8]|1[124-9]|2\d|3[01])|x0*(?:[0-8bcBC]|[eE]|[fF]|1[\da-fA-F]));"
)
