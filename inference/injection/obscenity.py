"""Obscene and demeaning words: a short list of stems by class, as whole words only.

The list is kept small on purpose. It is matched at the borders of words, so that places and names that contain such a
stem are left alone, and after masks such as ``f*ck`` and ``sh1t`` are taken off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import re2

from millrace.findings import Finding

_ANY: Final = "[*@#$%]"
# Swear words with their endings; a vowel may be masked by a sign, a letter by a digit.
_SWEAR: Final = (
    rf"(?:mother)?f(?:u|{_ANY}|v){{1,3}}(?:c|k|{_ANY}){{1,3}}(?:ing?|in'?|e[dr]s?|s|wit|face|head|off|up|a)?",
    r"(?:bull|horse|dip)?sh(?:i|1|!|\*){1,3}t(?:s|ty|ting|head|hole|face|e)?",
    r"c(?:u|\*)nts?|tw(?:a|\*)ts?|w(?:a|\*)nk(?:s|er|ers|ing)?|bollocks",
    r"b(?:i|1|!|\*)tch(?:es|y|ing)?|bastards?|slut(?:s|ty)?|whores?",
    r"(?:ass|arse)(?:holes?|hats?|wipes?)|jackass(?:es)?|a[\*$]{2}holes?",
    r"d(?:i|1|\*)ckheads?|pricks?|cocksuck(?:er|ers|ing)|douchebags?|piss(?:ed)? off",
    # and words that demean groups, written with their usual masks
    r"n(?:i|1|!|\*)gg(?:er|a|ers|as)|f(?:a|@|\*)gg?ots?|k(?:i|\*)kes?|retards?|trann(?:y|ies)|sp[i\*]cs?",
)
_PLAIN_USES: Final = frozenset(
    {"prick", "pricks", "retard", "retards", "bastard", "bastards", "bitch", "spic", "spics", "whore", "whores"}
)


def _compiled() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    return re2.compile(rf"(?:^|[^\pL\pN_*])({'|'.join(_SWEAR)})(?:$|[^\pL\pN_*])", options)


_PATTERN: Final = _compiled()


def obscenities(text: str) -> Iterator[Finding]:
    """Places of obscene words; words that also have a decent meaning count half."""
    at = 0
    while (found := _PATTERN.search(text, at)) is not None:
        start, end = found.span(1)
        word = found.group(1)
        if any(character.isalpha() for character in word):
            yield Finding("obscenity", "swearing", start, end, 0.5 if word.lower() in _PLAIN_USES else 0.9)
        at = end
