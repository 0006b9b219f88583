"""Personal data and secrets in a text, behind the PersonalData port."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from inference.personal_data import written
from inference.personal_data.credentials import MAX_KEY_CHARS, credentials
from inference.personal_data.identities import identity
from inference.personal_data.numbers import is_card, is_phone
from inference.personal_data.patterns import compiled, plain
from inference.personal_data.runs import Number, numbers
from millrace.findings import Finding

MAX_FINDING_CHARS: Final = MAX_KEY_CHARS
"""No finding is longer: private keys are the longest, everything else has at most a few hundred characters."""

_DIGITS: Final = compiled(r"[0-9][A-Za-z .()/-]{0,4}[0-9][A-Za-z .()/-]{0,4}[0-9]")
_COLONS: Final = compiled(r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:")


class PersonalDataFinder:
    """Finds what has a structure: addresses, numbers of cards, accounts, telephones and persons, keys and passwords.

    Parameters
    ----------
    without : collection of str
        Rules to leave out, such as ``IP_ADDRESS``.
    """

    def __init__(self, *, without: Collection[str] = ()) -> None:
        self._without = frozenset(without)

    def find(self, text: str) -> tuple[Finding, ...]:
        """Find personal data and secrets.

        Returns
        -------
        tuple of Finding
            In order of place, none overlapping another; where two would, a secret goes before a person's data, and the
            longer before the shorter.
        """
        return _apart(found for found in _all(plain(text)) if found.rule not in self._without)


def _all(text: str) -> Iterator[Finding]:
    yield from credentials(text)
    if "@" in text:
        yield from written.emails(text)
    if _DIGITS.search(text) is not None:
        yield from written.ibans(text)
        yield from written.identities(text)
        yield from _numbered(text)
        if "." in text:
            yield from written.ip_addresses(text)
    elif _COLONS.search(text) is not None:
        yield from written.ip_addresses(text)


def _numbered(text: str) -> Iterator[Finding]:
    covered = 0
    for candidates in numbers(text):
        for number in candidates:
            if number.start < covered:
                break
            rule = _rule(number)
            if rule is not None:
                covered = number.end
                yield Finding("personal_data", rule, number.start, number.end)
                break


def _rule(number: Number) -> str | None:
    if is_card(number):
        return "CREDIT_CARD"
    rule = identity(number)
    if rule is None and is_phone(number):
        return "PHONE_NUMBER"
    return rule


def _apart(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    ranked = sorted(findings, key=lambda found: (found.kind != "secret", found.start - found.end, found.start))
    starts: list[int] = []
    kept: list[Finding] = []
    for found in ranked:
        at = bisect(starts, found.start)
        free = (at == 0 or kept[at - 1].end <= found.start) and (at == len(kept) or found.end <= kept[at].start)
        if free and 0 < found.end - found.start <= MAX_FINDING_CHARS:
            starts.insert(at, found.start)
            kept.insert(at, found)
    return tuple(kept)
