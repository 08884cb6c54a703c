"""A message's properties as bytes, exactly as they go over the wire, to be kept in a file."""

from common.delivery import Properties
from common.rabbitmq.consuming.fast.headers import read_properties
from common.rabbitmq.frames import content_header


def header_of(properties: Properties, body: bytes) -> bytes:
    """The header of the message with this body."""
    return content_header(properties, len(body))


def properties_in(header: bytes, body: bytes) -> Properties:
    """The properties that a header was made of.

    Raises: ValueError if it is none, or another body's.
    """
    properties = read_properties(header)
    if content_header(properties, len(body)) != header:
        raise ValueError("the header can't be read, or is another body's")
    return properties
