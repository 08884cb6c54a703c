"""Where dumps are fetched from, and how patiently."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, ByteSize
from pydantic_settings import SettingsConfigDict

from common.settings.environment import Settings
from common.settings.fields import seconds, size, text


def _page(url: str) -> str:
    parts = urlsplit(url)
    # A login would be sent along with every redirect, and shown in every sentence.
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not a page")
    if parts.query or parts.fragment:
        raise ValueError("the query is ours to say")
    return url


class FetchSettings(Settings):
    """What `extractor fetch` and `spindle load --fetch` read."""

    model_config = SettingsConfigDict(env_prefix="EXTRACTOR_FETCH_")

    url: Annotated[str, AfterValidator(_page)] = text(
        "https://data.discogs.com/", "http://… or https://…, without user, password and query"
    )
    folder: str = text("", "a folder for dump files")
    timeout: float = seconds(30.0, 0.1, 3600)
    """For a connection, and for the next bytes of an answer."""
    patience: float = seconds(3600.0, 1, 604_800)
    """Seconds in which a file grows by less than 1 kB/s, after which it is given up: an hour outlasts a
    server's restart.
    """
    interval: float = seconds(3600.0, 1, 604_800)
    """Seconds between two looks at a month that is not complete yet."""
    reserve: ByteSize = size("1GiB", "0B", "1TiB")
    """What a download leaves free on its disk."""
