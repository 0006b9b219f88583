"""Which numbers are those of cards and telephones."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import phonenumbers
from stdnum import luhn

from inference.personal_data.patterns import compiled
from inference.personal_data.runs import Number

# Lengths and first digits of the large issuers: ISO/IEC 7812 and the issuers' own tables.
_ISSUERS: Final = compiled(
    r"^(?:4[0-9]{12}(?:[0-9]{3}){0,2}|5[1-5][0-9]{14}|2(?:2[2-9]|[3-6][0-9]|7[01])[0-9]{13}|2720[0-9]{12}|3[47][0-9]{13}"
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}|62[0-9]{14,17}|35[0-9]{14}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{8,15})$"
)
_CARD_SHAPES: Final = frozenset({
    (13,), (14,), (15,), (16,), (17,), (18,), (19,), (4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (6, 13),
    (4, 5, 6), (4, 4, 5), (4, 3, 3, 3), (8, 8), (4, 4, 4, 3), (4, 4, 4, 2), (6, 10),
})  # fmt: skip

_CALLING: Final = compiled(
    r"(?:\b(?:tel|phone|telephone|telefon|telefono|teléfono|téléphone|mobile?|handy|cell|cellphone|fax|call|dial"
    r"|sms|whatsapp|reach|contact|hotline|número|numéro|rufnummer|landline|ph|mob)\b|☎|📞)",
    any_case=True,
)
_REGIONS: Final = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "BE", "CH", "AT", "AU", "IN", "BR", "MX", "JP", "PL", "SE")
_TRUNK_DIGITS: Final = range(9, 13)
_NORTH_AMERICAN: Final = frozenset({(3, 3, 4), (1, 3, 3, 4)})


def is_card(number: Number) -> bool:
    """Whether a number is that of a payment card: length, issuer, grouping and check digit."""
    return (
        number.shape in _CARD_SHAPES
        and len(set(number.separators)) <= 1
        and not number.prefix
        and _ISSUERS.search(number.digits) is not None
        and len(set(number.digits)) > 1
        and luhn.is_valid(number.digits)
    )


def is_phone(number: Number) -> bool:
    """Whether a number is that of a telephone: its form, or its form and the words before it."""
    digits = number.digits
    if len(digits) > 15 or number.separators.count(")") > 1:
        return False
    if "+" in number.prefix or (digits.startswith("00") and number.shape[0] > 1):
        return _is_international("+" + digits.removeprefix("00"))
    if is_date(number) or "(" in number.separators:
        return False
    if number.shape in _NORTH_AMERICAN and _is_north_american(number):
        return True
    if (
        digits.startswith("0")
        and len(number.shape) > 1 < number.shape[0]
        and len(digits) in _TRUNK_DIGITS
        and _is_valid(digits)
    ):
        return True
    return _CALLING.search(number.before[-32:]) is not None and not _is_range(number)


def _is_north_american(number: Number) -> bool:
    digits = number.digits[-10:]
    if digits[0] in "01" or (len(number.digits) == 11 and number.digits[0] != "1"):
        return False
    if "(" in number.prefix or any(separator in "-.)" for separator in number.separators):
        return True
    return digits[3] not in "01" and _is_valid_in(digits, "US")


def is_date(number: Number) -> bool:
    """Whether a number may as well be a date, with or without a time."""
    if len(number.shape) < 3:
        return False
    parts = number.digits
    if number.shape[0] == 4 and number.shape[1:3] == (2, 2):
        return 1000 <= int(parts[:4]) <= 2999 and 1 <= int(parts[4:6]) <= 12 and 1 <= int(parts[6:8]) <= 31
    if number.shape[0] <= 2 and number.shape[1] <= 2 and number.shape[2] == 4:
        first, second = number.shape[:2]
        return 1 <= int(parts[:first]) <= 31 and 1 <= int(parts[first : first + second]) <= 31
    return False


def _is_range(number: Number) -> bool:
    return number.shape == (4, 4) and number.separators.strip() == "-" and number.digits[0] in "12"


@lru_cache(maxsize=4096)
def _is_international(digits: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(digits, None))
    except phonenumbers.NumberParseException:
        return False


@lru_cache(maxsize=4096)
def _is_valid(digits: str) -> bool:
    return any(_is_valid_in(digits, region) for region in _REGIONS[1:])


def _is_valid_in(digits: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(digits, region))
    except phonenumbers.NumberParseException:
        return False
