"""Why something could not be fetched."""

from common.errors import SpindleError


class FetchFailed(SpindleError):
    """A file can't be had: trying again now would not help."""


class WrongSum(FetchFailed):
    """A file was read to its end, and is not the one that was published."""


class NoListing(SpindleError):
    """A page is there, and does not list dumps."""


class NotFound(FetchFailed):
    """The server knows no such page or file."""
