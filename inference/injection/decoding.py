"""Runs of a text that are encoded, decoded: base64, hexadecimal, percent signs, entities, ROT13, backwards.

What comes out is kept only where it reads like language, so that keys, hashes and pictures give nothing.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final
from urllib.parse import unquote

import msgspec

MAX_RUNS: Final = 48
_MAX_RUN_CHARS: Final = 4_000


class Decoded(msgspec.Struct, frozen=True):
    """A text that was hidden in a run of another, and the place of the run."""

    how: str
    text: str
    start: int
    end: int


def _from_base64(run: str) -> str:
    joined = re.sub(r"\s", "", run).rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    joined = joined[: len(joined) - (len(joined) % 4 == 1)]
    return base64.b64decode(joined + "=" * (-len(joined) % 4), validate=True).decode()


def _from_base32(run: str) -> str:
    joined = run.rstrip("=")
    return base64.b32decode(joined + "=" * (-len(joined) % 8)).decode()


def _from_hex(run: str) -> str:
    return bytes.fromhex(re.sub(r"0x|\\x|[\s:,]", "", run)).decode()


def _from_binary(run: str) -> str:
    return bytes(int(byte, 2) for byte in re.findall(r"[01]{8}", run)).decode()


def _from_codes(run: str) -> str:
    return "".join(chr(int(code)) for code in re.findall(r"\d+", run))


def _from_escapes(run: str) -> str:
    return re.sub(r"\\u\{?([0-9a-fA-F]{4})\}?", lambda found: chr(int(found.group(1), 16)), run)


def _rot13(run: str) -> str:
    return codecs.encode(run, "rot13")


def _backwards(run: str) -> str:
    return run[::-1]


_RUNS: Final[tuple[tuple[str, re.Pattern[str], Callable[[str], str]], ...]] = (
    ("base64", re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}={0,2}"), _from_base64),
    ("base32", re.compile(r"\b[A-Z2-7]{24,}={0,6}"), _from_base32),
    ("hex", re.compile(r"(?<![0-9A-Za-z])(?:(?:0x|\\x)?[0-9a-fA-F]{2}[\s:,]{0,2}){10,}(?![0-9A-Za-z])"), _from_hex),
    ("binary", re.compile(r"\b[01]{8}(?:\s?[01]{8}){5,}\b"), _from_binary),
    ("codes", re.compile(r"\b\d{2,3}(?:[ ,]{1,2}\d{2,3}){9,}\b"), _from_codes),
    (
        "percent",
        re.compile(r"(?:[\w.,+-]{0,20}%[0-9A-Fa-f]{2}){3,}[\w.,+-]{0,40}"),
        lambda run: unquote(run.replace("+", " ")),
    ),
    ("entities", re.compile(r"(?:&#x?[0-9A-Fa-f]{2,6};[ \w]{0,12}){4,}"), html.unescape),
    ("escapes", re.compile(r"(?:\\u\{?[0-9a-fA-F]{4}\}?[ ]?){4,}"), _from_escapes),
)
# Frequent words of English, as the two ciphers write them: two of them in a line give it away.
_FREQUENT: Final = (
    "the",
    "and",
    "your",
    "with",
    "for",
    "that",
    "this",
    "you",
    "write",
    "ignore",
    "instructions",
    "all",
    "about",
)
_ROT13_WORDS: Final = re.compile(rf"\b(?:{'|'.join(_rot13(word) for word in _FREQUENT)})\b", re.IGNORECASE)
_BACKWARD_WORDS: Final = re.compile(rf"\b(?:{'|'.join(word[::-1] for word in _FREQUENT)})\b", re.IGNORECASE)
_SPACED: Final = re.compile(r"(?<![^\W\d_])[^\W\d_](?:[ ._*-]{1,3}[^\W\d_]){7,}(?![^\W\d_])")
_LEET: Final = re.compile(r"[A-Za-z013457@$!|]{3,40}")
_LETTER: Final = re.compile(r"[A-Za-z]")
_FOR_LETTERS: Final = re.compile(r"[013457@$]")
_LEET_LETTERS: Final = str.maketrans("013457@$!|", "oieastasil")


def decoded(text: str) -> Iterator[Decoded]:
    """Texts that are hidden in runs of `text`, at most `MAX_RUNS`."""
    yield from islice(_all(text), MAX_RUNS)


def _all(text: str) -> Iterator[Decoded]:
    for how, pattern, decode in _RUNS:
        for found in pattern.finditer(text):
            run = found.group()[:_MAX_RUN_CHARS]
            try:
                plain = decode(run)
            except (ValueError, binascii.Error, OverflowError):
                continue
            if plain != run and reads_like_language(plain):
                yield Decoded(how, plain, found.start(), found.start() + len(run))
    yield from _ciphers(text)
    yield from _spelled(text)


def _ciphers(text: str) -> Iterator[Decoded]:
    for how, words, decode in (("rot13", _ROT13_WORDS, _rot13), ("backwards", _BACKWARD_WORDS, _backwards)):
        if words.search(text) is None:
            continue
        for line in re.finditer(r"[^\n]+", text):
            hits = {found.group().lower() for found in words.finditer(line.group())}
            if len(hits) >= 2:
                yield Decoded(how, decode(line.group()), line.start(), line.end())


def _spelled(text: str) -> Iterator[Decoded]:
    """Words in single letters, joined, and words with digits for letters, spelled out."""
    for found in _SPACED.finditer(text):
        words = re.split(r"[ ._*-]{2,}", found.group())
        plain = " ".join(re.sub(r"[ ._*-]", "", word) for word in words)
        yield Decoded("spaced", plain, found.start(), found.end())
    for line in re.finditer(r"[^\n]+", text):
        if sum(map(_is_leet, _LEET.findall(line.group()))) >= 2:
            plain = _LEET.sub(_unleet, line.group())
            yield Decoded("leet", plain, line.start(), line.end())


def _is_leet(word: str) -> bool:
    return _LETTER.search(word) is not None and _FOR_LETTERS.search(word) is not None


def _unleet(found: re.Match[str]) -> str:
    word = found.group()
    return word.translate(_LEET_LETTERS) if _is_leet(word) else word


def reads_like_language(text: str) -> bool:
    """Whether a text consists of words: letters and spaces, hardly anything else."""
    if len(text) < 8 or "\ufffd" in text:
        return False
    n_letters = sum(character.isalpha() for character in text)
    n_plain = n_letters + sum(character.isspace() or character in ".,:;!?'\"-()" for character in text)
    words = text.split()
    return len(words) >= 2 and n_plain >= 0.85 * len(text) and n_letters >= 0.6 * len(text) and _is_one_script(text)


def _is_one_script(text: str) -> bool:
    n_ascii = sum(character.isascii() for character in text)
    return n_ascii >= 0.9 * len(text) or n_ascii <= 0.5 * len(text)
