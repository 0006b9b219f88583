"""Bytes of a text format as characters."""

from __future__ import annotations

import codecs
import re
from typing import Final

from streams.parsing.limits import Refused

MAX_CONTROL_SHARE: Final = 0.01
_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def decode(data: bytes, declared: str = "") -> tuple[str, str]:
    """Decode by byte order mark, then UTF-8, then what the document declares, then windows-1252.

    Returns
    -------
    str
        The text.
    str
        The encoding: a codec of Python that decodes the same bytes to the same characters.

    Raises
    ------
    Refused
        If it looks like no text.
    """
    marked = next((codec for mark, codec in _MARKS if data.startswith(mark)), "")
    for codec in (marked, "utf-8", declared, "windows-1252", "latin-1"):
        try:
            text = data.decode(codec) if codec else None
        except (UnicodeDecodeError, LookupError):
            continue
        if text is not None:
            require_text(text)
            return text, codec
    raise Refused("encoding", "the bytes are no text in any known encoding; convert it to UTF-8")


def require_text(text: str) -> None:
    """Check that characters are those of a text.

    Raises
    ------
    Refused
        ``binary``.
    """
    n_control = len(_CONTROL.findall(text))
    if n_control > max(1.0, MAX_CONTROL_SHARE * len(text)):
        message = f"content looks binary: {n_control} control characters in {len(text)}; send text"
        raise Refused("binary", message)
