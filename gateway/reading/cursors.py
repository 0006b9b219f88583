"""Cursors of lists: where the rest begins, as text that means something to its own tenant alone."""

import base64
import hashlib

import msgspec

from millrace.errors import InputRejected

_MAX_CHARS = 4096


def cursor(tenant: str, after: str) -> str:
    """Cursor of what comes after an id in a tenant's list."""
    packed = msgspec.msgpack.encode((_tag(tenant), after))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def position(tenant: str, text: str) -> str:
    """Id that a cursor stands at; empty for the beginning.

    Raises
    ------
    InputRejected
        If it is no cursor, or one of another tenant's list.
    """
    if not text:
        return ""
    try:
        if len(text) > _MAX_CHARS:
            raise ValueError
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        tag, after = msgspec.msgpack.decode(packed, type=tuple[bytes, str])
        if tag != _tag(tenant):
            raise ValueError
    except (ValueError, msgspec.MsgspecError) as error:
        raise InputRejected("the cursor is none of this list; leave it out to begin at the start") from error
    return after


def _tag(tenant: str) -> bytes:
    return hashlib.sha256(tenant.encode()).digest()[:8]
