r"""Take out of a text what nobody sees: control, zero-width and direction characters. Pure.

Joiners stay where a script or an emoji needs them. Newlines become ``\n`` and control characters spaces, so that words
stay apart. Everything taken out is counted.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from millrace.parsed import Run

_NEWLINE: Final = re.compile("\r(?!\n)|[\x0c\x85\u2028\u2029]")
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]")
# Letters of scripts that are written with joiners (Arabic to Telugu, Myanmar, Khmer, Mongolian) and emoji.
_JOINING: Final = (
    "\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u18af\ufb50-\ufdff\ufe0f\ufe70-\ufefc"
    "\u2190-\u2bff\U0001f000-\U0001faff"
)
_GONE: Final = re.compile(
    "(?P<newline>\r(?=\n))"
    "|(?P<bidi>[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])"
    "|(?P<zero_width>[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0"
    f"\ufff9-\ufffb\U000e0000-\U000e0fff]|(?<![{_JOINING}])[\u200c\u200d]"
    ")"
)


class VisibleText(msgspec.Struct, frozen=True):
    """A text as it is seen.

    Attributes
    ----------
    text : str
        Without what was taken out.
    removed : mapping of str to int
        ``control``, ``zero_width`` and ``bidi`` characters; kinds that did not occur are left out.
    runs : tuple of (int, int, int, int)
        From this text to the given one, see `millrace.parsed`.
    """

    text: str
    removed: Mapping[str, int]
    runs: tuple[Run, ...]


def visible(text: str) -> VisibleText:
    """Take invisible characters out of a text and normalise its newlines."""
    same_length, n_control = _CONTROL.subn(" ", _NEWLINE.sub("\n", text))
    removed = {"control": n_control} if n_control else {}
    parts: list[str] = []
    runs: list[Run] = []
    at = written = 0
    for gone in _GONE.finditer(same_length):
        start, end = gone.span()
        if start > at:
            parts.append(same_length[at:start])
            runs.append((written, written + start - at, at, start))
            written += start - at
        at = end
        kind = gone.lastgroup
        if kind is not None and kind != "newline":
            removed[kind] = removed.get(kind, 0) + 1
    if at < len(same_length):
        parts.append(same_length[at:])
        runs.append((written, written + len(same_length) - at, at, len(same_length)))
    return VisibleText("".join(parts), removed, tuple(runs))
