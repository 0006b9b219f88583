"""Personal data and secrets with a structure, drawn by chance: what must be found and masked wherever it stands."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

import phonenumbers
from stdnum import iban as iban_number
from stdnum import luhn
from stdnum.br import cpf
from stdnum.ch import ssn as ahv
from stdnum.de import idnr
from stdnum.es import dni
from stdnum.fi import hetu
from stdnum.in_ import aadhaar
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.tr import tckimlik


def _digits(rng: random.Random, n_digits: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(n_digits))


def _until(rng: random.Random, make: Callable[[random.Random], str], is_valid: Callable[[str], bool]) -> str:
    while not is_valid(text := make(rng)):
        pass
    return text


_ISSUERS = (("4", 16), ("52", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16), ("3528", 16), ("36", 14))
_ACCOUNTS = (
    ("DE", "d" * 18),
    ("GB", "a" * 4 + "d" * 14),
    ("FR", "d" * 23),
    ("NL", "a" * 4 + "d" * 10),
    ("ES", "d" * 20),
)
_DOMAINS = ("example.org", "mail.example.co.uk", "a-b.example.museum", "xn--bcher-kva.example", "firma.de")
_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "IN", "BR", "AU", "JP", "CH", "PL")
_WRITTEN = phonenumbers.PhoneNumberFormat


def card(rng: random.Random) -> str:
    start, n_digits = rng.choice(_ISSUERS)
    body = start + _digits(rng, n_digits - len(start) - 1)
    digits = body + luhn.calc_check_digit(body)
    if n_digits == 16 and rng.random() < 0.6:
        return rng.choice([" ", "-"]).join(digits[at : at + 4] for at in range(0, 16, 4))
    if n_digits == 15 and rng.random() < 0.6:
        return f"{digits[:4]} {digits[4:10]} {digits[10:]}"
    return digits


def iban(rng: random.Random) -> str:
    country, form = rng.choice(_ACCOUNTS)
    account = "".join(rng.choice(string.ascii_uppercase if kind == "a" else string.digits) for kind in form)
    number = country + iban_number.calc_check_digits(f"{country}00{account}") + account
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4)) if rng.random() < 0.5 else number


def email(rng: random.Random) -> str:
    name = rng.choice(["jane.doe", "m_mueller", "o'neil", "li+news", "x1", "J.R.R", "søren"])
    return f"{name}@{rng.choice(_DOMAINS)}"


def phone(rng: random.Random) -> str:
    example = phonenumbers.example_number(rng.choice(_REGIONS))
    assert example is not None
    form = rng.choice([_WRITTEN.INTERNATIONAL, _WRITTEN.E164, _WRITTEN.NATIONAL])
    written = phonenumbers.format_number(example, form)
    return f"Tel. {written}" if form == _WRITTEN.NATIONAL else written


def ssn(rng: random.Random) -> str:
    return f"{rng.randint(100, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"


def _born(rng: random.Random, form: str) -> str:
    return form.format(y=rng.randint(50, 99), m=rng.randint(1, 12), d=rng.randint(1, 28))


# Form, letters that may stand for A, and check.
_SCHEMES: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("{y:02}{m:02}{d:02}#####", "", pesel.is_valid),
    ("###.###.###-##", "", cpf.is_valid),
    ("########A", string.ascii_uppercase, dni.is_valid),
    ("756.####.####.##", "", ahv.is_valid),
    ("#### #### ####", "", aadhaar.is_valid),
    ("{y:02}{m:02}{d:02}-####", "", personnummer.is_valid),
    ("{d:02}{m:02}{y:02}-###A", "0123456789BCDEFHJKLMNPRSTUVWXY", hetu.is_valid),
    ("###########", "", tckimlik.is_valid),
    ("{d:02}{m:02}{y:02}#####", "", fodselsnummer.is_valid),
)


def identity(rng: random.Random) -> str:
    if rng.random() < 0.1:
        return "Steuer-ID " + _until(rng, lambda chance: _digits(chance, 11), idnr.is_valid)
    form, letters, is_valid = rng.choice(_SCHEMES)

    def make(chance: random.Random) -> str:
        return "".join(
            chance.choice(string.digits) if sign == "#" else chance.choice(letters) if sign == "A" else sign
            for sign in _born(chance, form)
        )

    return _until(rng, make, is_valid)


_BASE32 = str.maketrans("0189", "2345")


def secret(rng: random.Random) -> str:
    word = "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(40))
    return rng.choice([
        f"ghp_{word[:36]}", f"AKIA{word[:16].upper().translate(_BASE32)}", f"xoxb-{_digits(rng, 12)}-{word[:24]}",
        f"sk-proj-{word}", f"AIza{word[:35]}", f"sk_live_{word[:24]}", f"hf_{word[:34]}", f"glpat-{word[:20]}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI{word[:12]}.{word}",
        f"-----BEGIN PRIVATE KEY-----\n{word}\n{word}=\n-----END PRIVATE KEY-----",
    ])  # fmt: skip


KINDS: tuple[Callable[[random.Random], str], ...] = (card, iban, email, phone, ssn, identity, secret)


def core(value: str) -> str:
    """A value without the word before it that says what it is."""
    return value.removeprefix("Tel. ").removeprefix("Steuer-ID ")
