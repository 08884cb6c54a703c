"""Why something could not be fetched."""

from common.errors import SpindleError


class FetchFailed(SpindleError):
    """A file can't be had: trying again now would not help."""


class Unfinished(FetchFailed):
    """It is listed and can't be had so: the publisher may still be laying it out."""


class WrongSum(Unfinished):
    """A file was read to its end, and is not the one that was published."""


class NoSum(Unfinished):
    """The file of checksums has none of a file."""


class NoListing(SpindleError):
    """A page is there, and does not list dumps."""


class NotFound(Unfinished):
    """The server knows no such page or file."""
