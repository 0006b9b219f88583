"""What goes through the pipe between a worker and a child process."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from millrace.parsed import ParsedSource

READY: Final = b"R"
"""What a child process writes once it can take documents."""
LOADED: Final = b"L"
"""What it writes once it has a document and the reader for it: from here on the time is the document's own."""
REQUEST: Final = struct.Struct(">HQ")
"""Lengths of media type and document, which follow."""
REPLY: Final = struct.Struct(">Q")
"""Length of the `Reply` that follows in MessagePack."""


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """A parsed document, or why there is none; `last` says that the process ends with it."""

    parsed: ParsedSource | None = None
    reason: str = ""
    message: str = ""
    last: bool = False
