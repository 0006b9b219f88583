"""Personal data with a structure is found in all its forms, and honest text is left alone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.personal_data import MAX_FINDING_CHARS, PersonalDataFinder, settled
from tests.personal_values import KINDS, core

_SHARED = Path(__file__).parents[3] / "shared" / "data"
_FINDER = PersonalDataFinder()
_FRAMES = ("{}", "Please note {} for later.", "My details: {}, thanks!", "Kontakt ({})\n", "It is {}")
_N_EACH = 60


def _found(text: str) -> list[tuple[str, str]]:
    return [(found.rule, text[found.start : found.end]) for found in _FINDER.find(text)]


@pytest.mark.parametrize("make", KINDS)
def test_at_least_99_of_100_are_masked_whatever_surrounds_them(make: Callable[[random.Random], str]) -> None:
    rng = random.Random(20)
    n_kept, examples = 0, []
    for number in range(_N_EACH * len(_FRAMES)):
        value = make(rng)
        text = _FRAMES[number % len(_FRAMES)].format(value)
        masked = text
        for found in reversed(_FINDER.find(text)):
            masked = masked[: found.start] + "#" + masked[found.end :]
        bare = core(value)
        if bare in masked or sum(character in masked for character in set(bare)) == len(set(bare)) > 9:
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
