"""Texts as a reader takes them, with a way back to the places in the original.

Characters that nobody sees are left out, accents too, and letters of other scripts that look like Latin ones become
those. So the rules are written once, for plain text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import msgspec

# Soft hyphen, joiners and fillers, bidirectional controls, variation selectors, tags.
INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_TAGS: Final = range(0xE0020, 0xE007F)
_TAG_OFFSET: Final = 0xE0000
# Pairs of a letter and the Latin one it is drawn like, after Unicode's table of confusables.
_PAIRS: Final = (
    "АA ВB ЕE ЅS ІI ЈJ КK МM НH ОO РP СC ТT УY ХX аa еe ѕs іi јj оo рp сc уy хx һh ԁd ԛq ԝw ѵv ɡg ɑa ɩi ıi ΑA ΒB ΕE ΖZ ΗH "
    "ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX αa ιi νv οo ρp υu κk τt ϲc օo ոn սu հh ցg ԼL ՏS тt мm вb нh кk"
)
_LOOKS_LIKE: Final = {pair[0]: pair[-1] for pair in _PAIRS.split()}
_QUOTES: Final = {0x2018: "'", 0x2019: "'", 0x02BC: "'", 0x201C: '"', 0x201D: '"', 0x201E: '"'}
_WORD: Final = re.compile(r"[^\W\d_]+(?:[^\w\s]?[^\W\d_]+)*")
_ASCII_LETTER: Final = re.compile(r"[A-Za-z]")
_ODD: Final = re.compile(r"[^\x09\x0a\x0d\x20-\x7e]")
# Scripts whose letters are not taken apart: Hangul, Han, Kana, and those of India with their vowel signs.
_WHOLE: Final = ((0x0590, 0x1DFF), (0x2E80, 0xD7FF), (0x20000, 0x3FFFF))


class Normalised(msgspec.Struct, frozen=True):
    """A text, and where each of its characters stands in the original.

    Attributes
    ----------
    text : str
        The text.
    places : tuple of int or None
        Place of each character and of the end; None where nothing was changed.
    """

    text: str
    places: tuple[int, ...] | None = None

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Place in the original of the characters from `start` to `end`."""
        if self.places is None:
            return start, end
        if start >= end:
            return self.places[start], self.places[start]
        return self.places[start], self.places[end - 1] + 1


def normalised(text: str) -> Normalised:
    """Normalise a text: compatible forms, no accents, nothing invisible, Latin letters for their doubles."""
    if _ODD.search(text) is None:
        return Normalised(text)
    characters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        plain = _plain(character)
        characters.append(plain)
        places.extend([place] * len(plain))
    places.append(len(text))
    return Normalised(_latin("".join(characters)), tuple(places))


def _plain(character: str) -> str:
    code = ord(character)
    if code < 0xA0 or code in _TAGS or INVISIBLE.match(character):
        return _control(character, code)
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    if any(first <= code <= last for first, last in _WHOLE):
        return unicodedata.normalize("NFKC", character)
    if code in _QUOTES:
        return _QUOTES[code]
    if unicodedata.category(character) in {"Zs", "Zl", "Zp"}:
        return "\n" if code in {0x2028, 0x2029} else " "
    parts = unicodedata.normalize("NFKD", character)
    bare = "".join(part for part in parts if not unicodedata.combining(part))
    return bare if bare or unicodedata.combining(character) else character


def _control(character: str, code: int) -> str:
    """Character that is ASCII, or that nobody sees."""
    if code in _TAGS:
        return chr(code - _TAG_OFFSET)  # a copy of ASCII that nobody sees, but models read
    if 0x20 <= code < 0x7F or character in "\t\n\r":
        return character
    return "\n" if code == 0x85 else ""


def _latin(text: str) -> str:
    """Latin letters for their doubles, in words that have both, and in all words of a text that is Latin elsewhere."""
    n_latin = len(_ASCII_LETTER.findall(text))
    mostly = n_latin * 2 > sum(character.isalpha() for character in text)

    def replaced(found: re.Match[str]) -> str:
        word = found.group()
        if word.isascii():
            return word
        drawn = "".join(_LOOKS_LIKE.get(character, character) for character in word)
        return drawn if drawn.isascii() and (mostly or _ASCII_LETTER.search(word)) else word

    return _WORD.sub(replaced, text)
