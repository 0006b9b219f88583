r"""Take out of a text what nobody sees: control, zero-width and direction characters. Pure.

Joiners stay where a script or an emoji needs them. Newlines become ``\n`` and control characters spaces, so that words
stay apart. Everything taken out is counted.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from millrace.parsed import Run

_NEWLINES: Final = frozenset("\r\x0c\x85\u2028\u2029")
_JOINERS: Final = frozenset("\u200c\u200d")
_BIDI_CLASS: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_CONTROL_CLASS: Final = "\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f"
_BIDI: Final = re.compile(f"[{_BIDI_CLASS}]")
_CONTROL: Final = re.compile(f"[{_CONTROL_CLASS}]")
_ODD: Final = re.compile(
    f"[{_CONTROL_CLASS}{_BIDI_CLASS}\r\x0c\x85\u2028\u2029\u200c\u200d\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b"
    "\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
# Letters of scripts that are written with joiners (Arabic to Telugu, Myanmar, Khmer, Mongolian) and emoji.
_JOINING: Final = re.compile(
    "[\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u18af\ufb50-\ufdff\ufe0f\ufe70-\ufefc"
    "\u2190-\u2bff\U0001f000-\U0001faff]"
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
    removed: Counter[str] = Counter()
    parts: list[str] = []
    runs: list[Run] = []
    at = written = 0
    for odd in _ODD.finditer(text):
        start, end = odd.span()
        instead, kind = _instead(text, start)
        if instead is None:
            continue
        removed[kind] += 1
        parts += (text[at:start], instead)
        kept = end if instead else start  # what is replaced one by one belongs to the run
        if kept > at:
            _extend(runs, written, at, kept - at)
        written += kept - at
        at = end
    if at < len(text):
        parts.append(text[at:])
        _extend(runs, written, at, len(text) - at)
    del removed[""]
    return VisibleText("".join(parts), dict(removed), tuple(runs))


def _instead(text: str, at: int) -> tuple[str | None, str]:
    """What stands for an odd character (None: itself), and what it counts as."""
    character = text[at]
    if character in _NEWLINES:
        return ("" if text[at : at + 2] == "\r\n" else "\n"), ""
    if character in _JOINERS and at and _JOINING.match(text[at - 1]):
        return None, ""
    if _CONTROL.match(character):
        return " ", "control"
    return "", "bidi" if _BIDI.match(character) else "zero_width"


def _extend(runs: list[Run], start: int, source: int, length: int) -> None:
    if runs and (runs[-1][1], runs[-1][3]) == (start, source):
        runs[-1] = (runs[-1][0], start + length, runs[-1][2], source + length)
    else:
        runs.append((start, start + length, source, source + length))
