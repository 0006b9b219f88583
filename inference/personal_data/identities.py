"""The numbers that states give to persons, by their form and their check digits.

A number that many others look like counts only in its printed form, or where the words before it name it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from stdnum.au import tfn
from stdnum.be import nn
from stdnum.br import cnpj, cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cn import ric
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.kr import rrn
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.pt import nif as portuguese_nif
from stdnum.se import personnummer
from stdnum.tr import tckimlik
from stdnum.us import itin, ssn
from stdnum.za import idnr as south_african

from inference.personal_data.patterns import compiled
from inference.personal_data.runs import Number

_Shape = tuple[int, ...]


class Scheme(msgspec.Struct, frozen=True):
    """How one state numbers persons.

    Attributes
    ----------
    rule : str
        Name of the rule.
    is_valid : callable
        Whether digits, in groups as printed, pass the check.
    printed : frozenset of tuple of int
        Groups that make it sure without words before it.
    bare : frozenset of tuple of int
        Groups that need them.
    separators : str
        Characters that may stand between printed groups.
    words : str
        Pattern of the words that name it.
    unchecked : bool
        Whether the words and the form suffice where the check fails.
    """

    rule: str
    is_valid: Callable[[str], bool]
    printed: frozenset[_Shape] = frozenset()
    bare: frozenset[_Shape] = frozenset()
    separators: str = " .-/"
    words: str = ""
    unchecked: bool = False


def _shapes(*shapes: _Shape) -> frozenset[_Shape]:
    return frozenset(shapes)


_SCHEMES: Final = (
    Scheme(
        "US_SSN", ssn.is_valid, _shapes((3, 2, 4)), _shapes((9,), (3, 2, 4)), "- ", r"ssn|social[ -]security|tax ?id",
        unchecked=True,
    ),
    Scheme("US_ITIN", itin.is_valid, _shapes((3, 2, 4)), _shapes((9,)), "-", r"itin|taxpayer"),
    Scheme("CA_SIN", sin.is_valid, bare=_shapes((9,), (3, 3, 3)), words=r"\bsin\b|social insurance|\bnas\b"),
    Scheme("UK_NHS", nhs.is_valid, bare=_shapes((10,), (3, 3, 4)), words=r"\bnhs\b|health service"),
    Scheme("DE_TAX_ID", idnr.is_valid, _shapes((2, 3, 3, 3)), _shapes((11,)), " ", r"steuer|idnr|tin\b|tax"),
    Scheme("FR_NIR", nir.is_valid, _shapes((1, 2, 2, 2, 3, 3, 2), (13, 2), (15,))),
    Scheme("NL_BSN", bsn.is_valid, bare=_shapes((9,), (4, 2, 3), (3, 3, 3)), words=r"\bbsn\b|burgerservice|sofi"),
    Scheme("BE_NN", nn.is_valid, _shapes((2, 2, 2, 3, 2), (6, 3, 2), (11,))),
    Scheme("PL_PESEL", pesel.is_valid, _shapes((11,))),
    Scheme("CH_AHV", ahv.is_valid, _shapes((3, 4, 4, 2), (13,))),
    Scheme("SE_PERSONNUMMER", personnummer.is_valid, _shapes((6, 4), (8, 4)), _shapes((10,), (12,)), "-+", r"person"),
    Scheme("NO_FODSELSNUMMER", fodselsnummer.is_valid, _shapes((6, 5), (11,))),
    Scheme("DK_CPR", cpr.is_valid, bare=_shapes((6, 4), (10,)), words=r"\bcpr\b|personnummer"),
    Scheme("BR_CPF", cpf.is_valid, _shapes((3, 3, 3, 2), (9, 2), (11,))),
    Scheme("BR_CNPJ", cnpj.is_valid, _shapes((2, 3, 3, 4, 2)), _shapes((14,)), words=r"\bcnpj\b"),
    Scheme("PT_NIF", portuguese_nif.is_valid, bare=_shapes((9,), (3, 3, 3)), words=r"\bnif\b|contribuinte"),
    Scheme("IN_AADHAAR", aadhaar.is_valid, _shapes((4, 4, 4)), _shapes((12,)), " -", r"aadha+r|uidai"),
    Scheme("TR_TCKIMLIK", tckimlik.is_valid, _shapes((11,))),
    Scheme("ZA_ID", south_african.is_valid, _shapes((13,), (6, 4, 3), (6, 4, 2, 1))),
    Scheme("KR_RRN", rrn.is_valid, _shapes((6, 7)), _shapes((13,)), "-", r"rrn|resident|주민"),
    Scheme("CN_RIC", ric.is_valid, _shapes((18,), (6, 8, 4))),
    Scheme("AU_TFN", tfn.is_valid, bare=_shapes((9,), (8,), (3, 3, 3)), words=r"\btfn\b|tax file"),
)  # fmt: skip
_NAMED: Final = {scheme.rule: compiled(scheme.words) for scheme in _SCHEMES if scheme.words}
_BY_SHAPE: Final[dict[_Shape, tuple[Scheme, ...]]] = {
    shape: tuple(scheme for scheme in _SCHEMES if shape in scheme.printed | scheme.bare)
    for shape in frozenset().union(*(scheme.printed | scheme.bare for scheme in _SCHEMES))
}
_PASSPORT: Final = compiled(r"passport|reisepass|passeport|pasaporte|passaporto|paspoort")


def identity(number: Number) -> str | None:
    """Rule that a number fits, if it is that of a person."""
    if number.prefix:
        return None
    for scheme in _BY_SHAPE.get(number.shape, ()):
        if not all(separator in scheme.separators for separator in number.separators):
            continue
        named = scheme.rule in _NAMED and _NAMED[scheme.rule].search(number.before) is not None
        if not (named or number.shape in scheme.printed):
            continue
        if (named and scheme.unchecked) or scheme.is_valid(_printed(number, scheme)):
            return scheme.rule
    if number.shape in {(8,), (9,)} and _PASSPORT.search(number.before[-32:]) is not None:
        return "PASSPORT"
    return None


def _printed(number: Number, scheme: Scheme) -> str:
    """Digits as the check wants them: Swedish and Danish ones tell centuries by the sign in between."""
    if scheme.rule == "SE_PERSONNUMMER" and len(number.shape) == 1:
        return f"{number.digits[:-4]}-{number.digits[-4:]}"
    if scheme.rule in {"SE_PERSONNUMMER", "US_SSN", "US_ITIN"}:
        return number.text[number.start : number.end]
    return number.digits
