"""What passes between a worker and the child process that scans."""

from __future__ import annotations

import struct
from typing import Final

READY: Final = b"ready\n"
LENGTH: Final = struct.Struct(">I")
"""Length of the text (UTF-8, lone surrogates passed), or of the outcome (MessagePack), that follows."""
