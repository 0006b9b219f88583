"""What has letters in it: addresses, accounts, and the numbers of persons with letters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any, Final

from stdnum import iban
from stdnum.cn import ric
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.ie import pps
from stdnum.in_ import pan
from stdnum.it import codicefiscale
from stdnum.mx import curp

from inference.personal_data.patterns import compiled
from millrace.findings import Finding

# Letters of any script, which RE2 would make a large table of if it were told so exactly.
_LETTER: Final = r"[a-zA-Z0-9\x{aa}-\x{1fff}\x{2c00}-\x{d7ff}\x{f900}-\x{fdff}]"
_EMAIL: Final = compiled(
    rf"(?:{_LETTER}|[_+])(?:{_LETTER}|[._%+'&=~!#$*/?^`{{|}}-])*@(?:{_LETTER}+(?:-+{_LETTER}+)*\.)+(?:xn--[a-zA-Z0-9-]+|[a-zA-Z\x{{aa}}-\x{{1fff}}\x{{2c00}}-\x{{d7ff}}]{{2,24}})"
)
_IBAN_BEGINS: Final = compiled(r"\b(?:[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]|[a-z]{2}[0-9]{2}[a-z0-9])")
_IBAN: Final = compiled(r"[A-Z]{2}(?:[ -]?[A-Z0-9])+|[a-z]{2}[a-z0-9]+")
_IPV4: Final = compiled(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b")
_IPV6: Final = compiled(r"(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?:%[a-z0-9]+)?")
_SHORTEST_IBAN: Final = 15
_LONGEST_IBAN: Final = 44
_NINO_WRONG: Final = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})


def _is_nino(text: str) -> bool:
    return text[:2].upper() not in _NINO_WRONG and text[0] not in "DFIQUV" and text[1] not in "DFIOQUV"


def _is_curp(text: str) -> bool:
    return bool(curp.is_valid(text))


_FORMS: Final[tuple[tuple[str, Any, Callable[[str], bool]], ...]] = (
    ("ES_NIF", compiled(r"\b[0-9]{8}[ -]?[A-Z]\b"), dni.is_valid),
    ("ES_NIE", compiled(r"\b[XYZ][ -]?[0-9]{7}[ -]?[A-Z]\b"), nie.is_valid),
    ("IT_CODICE_FISCALE", compiled(r"\b[A-Z]{6}[0-9]{2}[A-Z][0-9]{2}[A-Z][0-9]{3}[A-Z]\b"), codicefiscale.is_valid),
    ("UK_NINO", compiled(r"\b[A-Z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]\b"), _is_nino),
    ("FI_HETU", compiled(r"\b[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]\b"), hetu.is_valid),
    ("MX_CURP", compiled(r"\b[A-Z]{4}[0-9]{6}[HM][A-Z]{5}[0-9A-Z][0-9]\b"), _is_curp),
    ("IN_PAN", compiled(r"\b[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]\b"), pan.is_valid),
    ("IE_PPS", compiled(r"\b[0-9]{7}[A-W][A-IW]?\b"), pps.is_valid),
    ("CN_RIC", compiled(r"\b[1-9][0-9]{16}[Xx]\b"), ric.is_valid),
)
_PASSPORT: Final = compiled(
    r"(?:passport|reisepass|passeport|pasaporte|passaporto|paspoort)[^!?\n0-9]{0,24}?\b([A-Z]{1,3}[0-9]{6,8}[A-Z]?|[CFGHJK][0-9CFGHJKLMNPRTVWXYZ]{8})\b",
    any_case=True,
)


def emails(text: str) -> Iterator[Finding]:
    """Addresses of e-mail."""
    for found in _EMAIL.finditer(text):
        yield Finding("personal_data", "EMAIL_ADDRESS", found.start(), found.end())


def ibans(text: str) -> Iterator[Finding]:
    """Numbers of bank accounts, in groups or not."""
    for begins in _IBAN_BEGINS.finditer(text):
        start = begins.start()
        found = _IBAN.match(text[start : start + _LONGEST_IBAN])
        end = _iban_end(text, start, start + found.end())
        if end:
            yield Finding("personal_data", "IBAN", start, end)


def _iban_end(text: str, start: int, end: int) -> int:
    """End of the longest valid number; words that follow it look like more of it."""
    while end - start >= _SHORTEST_IBAN:
        whole = end == len(text) or not text[end].isalnum()
        if whole and text[end - 1] not in " -" and iban.is_valid(text[start:end], check_country=False):
            return end
        end -= 1
    return 0


def identities(text: str) -> Iterator[Finding]:
    """Numbers of persons with letters in them, and of their passports where the word is near."""
    for rule, pattern, is_valid in _FORMS:
        for found in pattern.finditer(text):
            if is_valid(text[found.start() : found.end()]):
                yield Finding("personal_data", rule, found.start(), found.end())
    for found in _PASSPORT.finditer(text):
        if any(character.isdigit() for character in found.group(1)):
            yield Finding("personal_data", "PASSPORT", found.start(1), found.end(1))


def ip_addresses(text: str) -> Iterator[Finding]:
    """Addresses of machines, but for those that every machine has."""
    for pattern in (_IPV4, _IPV6):
        for found in pattern.finditer(text):
            start, end = found.span()
            if _touches(text, start, end):
                continue
            try:
                address = ip_address(text[start:end].partition("%")[0])
            except ValueError:
                continue
            if not (address.is_loopback or address.is_multicast or _is_round(text[start:end])):
                yield Finding("personal_data", "IP_ADDRESS", start, end)


def _is_round(address: str) -> bool:
    """Whether it is a network, or a version that looks like one, rather than a machine."""
    if "." in address:
        return address.startswith("0.") or address.endswith(".0")
    return len([group for group in address.split(":") if group]) < 2


def _touches(text: str, start: int, end: int) -> bool:
    """Whether it is a part of something longer, such as the number of a version or a name with colons."""
    before = text[start - 1] if start else " "
    after = text[end : end + 2]
    return before.isalnum() or before in ".:_-" or (after[:1].isalnum() or after[:1] in {":", "_"}) or _goes_on(after)


def _goes_on(after: str) -> bool:
    return len(after) > 1 and after[0] == "." and after[1].isdigit()
