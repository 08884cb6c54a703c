"""A message's properties, from the client library's type to ours."""

from typing import Any, TypeGuard

from pamqp import commands

from common.delivery import Properties


def translated(properties: commands.Basic.Properties) -> Properties:
    """All of a message's properties as they came."""
    stamp: Any = properties.timestamp
    return Properties(
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        headers=properties.headers or {},
        delivery_mode=properties.delivery_mode,
        priority=properties.priority,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        expiration=properties.expiration,
        message_id=properties.message_id,
        timestamp=int(stamp.timestamp()) if stamp else None,
        type=properties.message_type,
        user_id=properties.user_id,
        app_id=properties.app_id,
    )


def is_number(value: object) -> TypeGuard[int]:
    """Whether a header is one; a truth value is not."""
    return isinstance(value, int) and not isinstance(value, bool)
