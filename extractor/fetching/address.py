"""Addresses: which may be followed, and how one is shown."""

from urllib.parse import urljoin, urlsplit

from extractor.fetching.errors import FetchFailed


def shown(url: str) -> str:
    """An address for a sentence: the query of one that a redirect led to may be a login."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query.startswith(("prefix=", "download=")) else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


def allowed_target(url: str, target: str) -> str:
    """Where a redirect from `url` or a link on it leads, if one may go there. Raises: FetchFailed."""
    try:
        target = urljoin(url, target)
        scheme = urlsplit(target).scheme
    except ValueError as error:
        raise FetchFailed(f"{shown(url)} leads to something that is no address") from error
    if scheme not in ("http", "https"):
        raise FetchFailed(f"{shown(url)} leads to {scheme}:, and only http: and https: are followed")
    if scheme == "http" and urlsplit(url).scheme == "https":
        # The sums come from the same server: in the clear, both could be replaced together.
        raise FetchFailed(f"{shown(url)} leads from https to http, where anybody on the way could replace it")
    return target
