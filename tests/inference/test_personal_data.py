"""Personal data with a structure is found in all its forms, and honest text is left alone."""

from __future__ import annotations

import json
import random
import string
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import iban, luhn
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

from inference.personal_data import MAX_FINDING_CHARS, PersonalDataFinder, settled

_SHARED = Path(__file__).parents[3] / "shared" / "data"
_FINDER = PersonalDataFinder()
_FRAMES = ("{}", "Please note {} for later.", "My details: {}, thanks!", "Kontakt ({})\n", "It is {}")
_N_EACH = 60


def _found(text: str) -> list[tuple[str, str]]:
    return [(found.rule, text[found.start : found.end]) for found in _FINDER.find(text)]


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


def _card(rng: random.Random) -> str:
    start, n_digits = rng.choice(_ISSUERS)
    body = start + _digits(rng, n_digits - len(start) - 1)
    digits = body + luhn.calc_check_digit(body)
    if n_digits == 16 and rng.random() < 0.6:
        return rng.choice([" ", "-"]).join(digits[at : at + 4] for at in range(0, 16, 4))
    if n_digits == 15 and rng.random() < 0.6:
        return f"{digits[:4]} {digits[4:10]} {digits[10:]}"
    return digits


def _iban(rng: random.Random) -> str:
    country, form = rng.choice(_ACCOUNTS)
    account = "".join(rng.choice(string.ascii_uppercase if kind == "a" else string.digits) for kind in form)
    number = country + iban.calc_check_digits(f"{country}00{account}") + account
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4)) if rng.random() < 0.5 else number


def _email(rng: random.Random) -> str:
    name = rng.choice(["jane.doe", "m_mueller", "o'neil", "li+news", "x1", "J.R.R", "søren"])
    return f"{name}@{rng.choice(_DOMAINS)}"


def _phone(rng: random.Random) -> str:
    example = phonenumbers.example_number(rng.choice(_REGIONS))
    assert example is not None
    form = rng.choice([_WRITTEN.INTERNATIONAL, _WRITTEN.E164, _WRITTEN.NATIONAL])
    written = phonenumbers.format_number(example, form)
    return f"Tel. {written}" if form == _WRITTEN.NATIONAL else written


def _ssn(rng: random.Random) -> str:
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


def _identity(rng: random.Random) -> str:
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


def _secret(rng: random.Random) -> str:
    word = "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(40))
    return rng.choice([
        f"ghp_{word[:36]}", f"AKIA{word[:16].upper().translate(_BASE32)}", f"xoxb-{_digits(rng, 12)}-{word[:24]}",
        f"sk-proj-{word}", f"AIza{word[:35]}", f"sk_live_{word[:24]}", f"hf_{word[:34]}", f"glpat-{word[:20]}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI{word[:12]}.{word}",
        f"-----BEGIN PRIVATE KEY-----\n{word}\n{word}=\n-----END PRIVATE KEY-----",
    ])  # fmt: skip


@pytest.mark.parametrize("make", [_card, _iban, _email, _phone, _ssn, _identity, _secret])
def test_at_least_99_of_100_are_masked_whatever_surrounds_them(make: Callable[[random.Random], str]) -> None:
    rng = random.Random(20)
    n_kept, examples = 0, []
    for number in range(_N_EACH * len(_FRAMES)):
        value = make(rng)
        text = _FRAMES[number % len(_FRAMES)].format(value)
        masked = text
        for found in reversed(_FINDER.find(text)):
            masked = masked[: found.start] + "#" + masked[found.end :]
        core = value.removeprefix("Tel. ").removeprefix("Steuer-ID ")
        if core in masked or sum(character in masked for character in set(core)) == len(set(core)) > 9:
            n_kept += 1
            examples.append(text)
    assert n_kept <= 0.01 * _N_EACH * len(_FRAMES), examples[:5]


@pytest.mark.parametrize(
    "text",
    [
        "From 1914 to 1918, and again in 1939-1945, 1,234,567 people moved.",
        "ISBN 978-3-16-148410-0, published 2024-01-02 10:30:00, version 1.2.3.0 (2023-07-12).",
        "The password is important, and a token of trust; see password: yours.",
        "4111 1111 1111 1112 fails its check, 1234567890123456 too.",
        "git commit 3f786850e387550fdab836ed7e6dc881de23001b, uuid 123e4567-e89b-12d3-a456-426614174000",
        "token = os.environ['TOKEN'] and postgres://user:${PASSWORD}@host/db on 127.0.0.1",
        "A table: 12 34 56 78 90 12 34 56; 100 000 000; 3.14159265358979",
    ],
)
def test_numbers_and_words_that_only_look_like_it_are_left_alone(text: str) -> None:
    assert _found(text) == []


def test_a_card_counts_by_its_check_digit() -> None:
    assert _found("4111 1111 1111 1111") == [("CREDIT_CARD", "4111 1111 1111 1111")]
    assert _found("4111 1111 1111 1113") == []


def test_words_before_a_number_make_it_one_of_a_person() -> None:
    assert _found("passport no. C01X00T47") == [("PASSPORT", "C01X00T47")]
    assert _found("part no. C01X00T47") == []
    assert _found("my SSN is 219099998") == [("US_SSN", "219099998")]
    assert _found("we saw 219099998 of them") == []


def test_digits_of_other_widths_and_other_spaces_are_read() -> None:
    assert [rule for rule, _ in _found("４１１１ １１１１ １１１１ １１１１")] == ["CREDIT_CARD"]
    assert [rule for rule, _ in _found("4111\u00a01111\u20111111\u20111111")] in ([], ["CREDIT_CARD"])
    assert [rule for rule, _ in _found("+44\u00a020\u00a07946\u00a00958")] == ["PHONE_NUMBER"]


def test_rules_can_be_left_out() -> None:
    assert PersonalDataFinder(without=["IP_ADDRESS"]).find("from 203.0.113.7") == ()
    assert [found.rule for found in _FINDER.find("from 203.0.113.7")] == ["IP_ADDRESS"]


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=st.characters(), max_size=300) | st.text(alphabet="0123456789 .-()+@:/aAzZ\n_=e", max_size=300))
def test_findings_of_any_text_are_in_order_apart_and_inside(text: str) -> None:
    end = 0
    for found in _FINDER.find(text):
        assert end <= found.start < found.end <= len(text)
        assert found.end - found.start <= MAX_FINDING_CHARS
        end = found.end


_PIECES = st.sampled_from([
    "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "jane.doe@example.org", "+44 20 7946 0958", "(555) 123-4567",
    "AB 12 34 56 C", "123-45-6789", "hello there", "on 2024-01-02", "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "password: hunter2!x", "\n", ". ", "Tel.",
    "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", "203.0.113.7", "X1234567L", "756.9217.0769.85",
])  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(_PIECES, min_size=1, max_size=6), st.data())
def test_what_follows_does_not_change_findings_in_the_settled_part(pieces: list[str], data: st.DataObject) -> None:
    text = " ".join(pieces)
    cut = data.draw(st.integers(0, len(text)))
    n_settled = settled(text[:cut])
    before = [found for found in _FINDER.find(text[:cut]) if found.start < n_settled]
    after = [found for found in _FINDER.find(text) if found.start < n_settled]
    assert before == after


def test_a_number_that_may_go_on_is_held_back() -> None:
    text = "Pay to DE89 3704 0044"
    assert settled(text) == len("Pay to ")
    assert settled(text + " today") == len(text) + 1


def test_only_so_much_is_held_back() -> None:
    endless = "-----BEGIN PRIVATE KEY-----\n" + "A" * 3 * MAX_FINDING_CHARS
    assert len(endless) - settled(endless) == MAX_FINDING_CHARS


def test_many_findings_are_sorted_out_in_time() -> None:
    text = "jane.doe@example.org " * 5_000
    began = time.process_time()
    assert len(_FINDER.find(text)) == 5_000
    assert time.process_time() - began < 5


def test_plain_prose_costs_microseconds() -> None:
    text = "A sentence without numbers, addresses or anything else of the kind, as most are, goes through unread."
    _FINDER.find(text)
    began = time.process_time()
    for _ in range(1_000):
        _FINDER.find(text)
    assert time.process_time() - began < 0.5  # 11 us each when nothing else runs


def test_importing_it_loads_no_language_model() -> None:
    heavy = {"spacy", "presidio_analyzer", "tldextract", "requests"}
    script = f"import sys, inference.personal_data; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.shared_data
@pytest.mark.parametrize(("path", "bound"), [("xquad/xquad.en.part-a.json", 0.02), ("policyqa/dev.json", 0.02)])
def test_honest_text_raises_hardly_any_alarm(path: str, bound: float) -> None:
    source = _SHARED / path
    if not source.exists():
        pytest.skip(f"{source} is absent: see README.md of ../shared/data")
    texts = [
        paragraph["context"]
        for article in json.loads(source.read_text())["data"]
        for paragraph in article["paragraphs"]
    ]
    # Policies tell where to write and to call: those are found rightly.
    wrong = [text for text in texts if {rule for rule, _ in _found(text)} - {"EMAIL_ADDRESS", "PHONE_NUMBER"}]
    assert len(wrong) <= bound * len(texts)
    if "xquad" in path:
        assert not [text for text in texts if _found(text)]
