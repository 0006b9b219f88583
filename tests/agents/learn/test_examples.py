"""Laws about examples: what they are made of, where they come from, and that nobody's data is in them."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from agents.learn.examples import propose_example, pseudonym
from inference.personal_data import PersonalDataFinder
from millrace.agent import spec_of
from millrace.codec import Codec
from millrace.events.learn import ExampleProposed, ExampleRejected, QualityScored
from millrace.examples.content import decode
from millrace.findings import Finding
from millrace.testing import run
from millrace.topics import EXAMPLE_CURATED, EXAMPLE_PROPOSED
from tests.fakes import MemoryObjects
from tests.guard_fakes import MemoryPersonalData
from tests.learned import approved, corrected, hit, learning, of, quote, scored
from tests.personal_values import KINDS, core

_SPEC = spec_of(propose_example)


def proposals(*events: QualityScored, **ports: Any) -> list[Any]:
    return run(_SPEC, events, learning(**ports))


def test_a_correction_is_the_target_and_the_document_that_holds_it_is_cited() -> None:
    objects = MemoryObjects()
    event = corrected(
        text="sixteen weeks",
        user="eva",
        citations=(quote("Meals are refunded.", "hr/travel.md"), quote("Leave is sixteen weeks, paid.")),
        hits=(hit("hr/travel.md"), hit(rank=2)),
        labels={"site": "zurich"},
        groups=("*", "staff"),
    )
    [found] = proposals(event, objects=objects)
    content = decode(found.ref, objects.objects[found.ref])
    assert (found.source, found.document, found.version, found.grounded) == ("correction", "hr/leave.md", 3, True)
    assert found.user == pseudonym("acme", "eva")
    assert (found.label, found.language) == ("site=zurich", "en")
    assert (found.causes, found.correlation) == ((event.meta.id,), event.correlation)
    assert (content.question, content.target) == (event.question, "sixteen weeks")
    assert [(each.document, each.text) for each in content.context] == [
        ("hr/leave.md", "Leave is sixteen weeks, paid.")
    ]
    assert [(each.document, each.rank) for each in content.retrieved] == [("hr/travel.md", 1), ("hr/leave.md", 2)]
    assert (content.labels, content.groups) == ({"site": "zurich"}, ("*", "staff"))


def test_a_correction_that_no_citation_holds_is_kept_with_the_best_hit_and_is_not_grounded() -> None:
    [found] = proposals(corrected(text="ask the works council", hits=(hit("hr/other.md"),)))
    assert (found.document, found.grounded, found.documents) == ("hr/other.md", False, ())
    [alone] = proposals(corrected(text="ask the works council", hits=(), citations=()))
    assert (alone.document, alone.label) == ("", "")


def test_an_approved_answer_is_what_it_quoted() -> None:
    objects = MemoryObjects()
    event = approved(citations=(quote("One."), quote("Two.", "it/two.md")))
    [found] = proposals(event, objects=objects)
    content = decode(found.ref, objects.objects[found.ref])
    assert (found.source, found.document, found.grounded, found.label) == ("approved", "hr/leave.md", True, "hr")
    assert (content.target, found.documents) == ("One.\nTwo.", ("hr/leave.md", "it/two.md"))


@pytest.mark.parametrize(
    "event",
    [
        scored(),
        scored(poor=True, status="not_found", feedback={"down": 2}),
        scored(feedback={"copied": 3}),
        scored(feedback={"rating": 1}),
        scored(poor=True, feedback={"abandoned": 1}, flags=("disliked",)),
        approved(citations=()),
        approved(status="not_found"),
        approved(flags=("ungrounded",)),
    ],
)
def test_nothing_is_learned_where_nobody_said_what_is_right(event: QualityScored) -> None:
    assert proposals(event) == []


@pytest.mark.parametrize(
    "said",
    [
        {"feedback": {"up": 1, "down": 1}},
        {"feedback": {"down": 1}},
        {"feedback": {"rating": 1}, "n_dislikes": 1, "flags": ("disliked",)},
        {"feedback": {"rating": 1, "up": 1}, "n_dislikes": 1},
        {"feedback": {"rating": 1}, "flags": ("disliked",)},
    ],
    ids=["up and down", "down", "low rating", "up and low rating", "low rating of earlier times"],
)
def test_a_disliked_answer_is_proposed_as_no_example_any_more_and_nothing_is_stored(said: dict[str, Any]) -> None:
    first, later = proposals(approved(), approved(revision=2, **said))
    assert (first.disliked, later.disliked) == (False, True)
    assert (first.example, later.ref) == (later.example, "")


def test_an_approved_answer_stays_so_beside_a_high_rating() -> None:
    [found] = proposals(approved(feedback={"up": 1, "rating": 1}))
    assert (found.source, found.disliked) == ("approved", False)


def test_a_correction_that_is_rejected_takes_the_answers_approval_back() -> None:
    objects = MemoryObjects()
    before, found, withdrawn = proposals(approved(), corrected(text="?!"), objects=objects)
    assert (found.source, found.reason) == ("correction", "empty")
    assert (withdrawn.example, withdrawn.correlation) == (before.example, before.correlation)
    assert (withdrawn.disliked, withdrawn.ref, len(objects.objects)) == (True, "", 1)
    [taken] = proposals(corrected())
    assert (taken.source, taken.disliked) == ("correction", False)
    [nothing] = proposals(corrected(text="?!", citations=()))
    assert isinstance(nothing, ExampleRejected)


def test_the_same_words_are_the_same_example_and_other_labels_make_another() -> None:
    a, b, c = proposals(
        corrected(1, "It is EIGHTEEN weeks!", "eva"),
        corrected(2, "it is eighteen week", "ben", question="how long is  parental leave"),
        corrected(3, labels={"site": "zurich"}),
    )
    assert (a.example, a.question, a.figures, a.signature) == (b.example, b.question, b.figures, b.signature)
    assert a.question != c.question
    assert a.figures != c.figures


def test_a_value_has_one_placeholder_in_question_target_and_context() -> None:
    objects = MemoryObjects()
    event = corrected(
        text="Write to hr@example.org, not to jane@example.org.",
        question="Is jane@example.org the right address?",
        citations=(quote("Jane is jane@example.org.", heading="About jane@example.org"),),
    )
    [found] = proposals(event, objects=objects)
    content = decode(found.ref, objects.objects[found.ref])
    assert content.question == "Is [EMAIL_ADDRESS_1] the right address?"
    assert content.target == "Write to [EMAIL_ADDRESS_2], not to [EMAIL_ADDRESS_1]."
    assert content.context[0].text == "Jane is [EMAIL_ADDRESS_1]."
    assert content.context[0].heading == "About [EMAIL_ADDRESS_1]"
    assert found.n_masked == 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text": "jane@example.org"}, "personal_data"),
        ({"question": "jane@example.org?"}, "personal_data"),
        ({"text": " ?! "}, "empty"),
        ({"labels": {"customer": "jane@example.org"}}, "personal_data"),
        ({"question": "", "asked": "..."}, "empty"),
        ({"text": "https://example.org/secret"}, "empty"),
    ],
)
def test_what_masking_leaves_nothing_of_is_rejected_and_nothing_is_stored(changes: Any, reason: str) -> None:
    objects = MemoryObjects()
    found, *withdrawn = proposals(corrected(**changes), objects=objects)
    assert isinstance(found, ExampleRejected)
    assert (found.reason, found.ref, objects.objects) == (reason, "", {})
    assert all(each.disliked for each in withdrawn)
    assert b"jane" not in msgspec.json.encode([found, *withdrawn])


class Whole:
    """Finds what only shows in a whole text: what masking in pieces must miss."""

    def find(self, text: str) -> tuple[Finding, ...]:
        whole = text.startswith("alpha") and text.endswith("omega")
        return (Finding("personal_data", "WHOLE", 0, len(text)),) if whole else ()


def test_what_is_found_after_masking_is_rejected() -> None:
    words = "alpha and then many more plain words that follow each other for a while until at last omega"
    found, _ = proposals(corrected(text=words), personal_data=Whole())
    assert isinstance(found, ExampleRejected)
    assert found.reason == "personal_data"


def test_users_stand_in_it_by_pseudonyms_of_their_tenant() -> None:
    user = "jane.doe@example.org"
    proposed, rejected = proposals(corrected(user=user), corrected(2, text="?!", citations=(), user=user))
    assert isinstance(rejected, ExampleRejected)
    for found in (proposed, rejected):
        assert b"jane" not in msgspec.json.encode(found)
        assert found.user == pseudonym("acme", user) != pseudonym("other", user)
    assert pseudonym("acme", "") == ""


def _leaks(personal_data: Any, n_each: int) -> tuple[int, int]:
    """How many of many drawn values reach an object or an event, and how many were drawn."""
    rng, codec = random.Random(7), Codec([ExampleProposed, ExampleRejected])
    events, values = [], []
    for number in range(n_each * len(KINDS)):
        value = KINDS[number % len(KINDS)](rng)
        place = number // len(KINDS) % 3
        texts = ["How do I reach the person", "You find the details of this person there", "The handbook names it"]
        texts[place] += f": {value} ok"
        values.append(core(value))
        citations = (quote(texts[2], heading=f"On {value}" if place == 2 else ""),)
        events.append(corrected(number, texts[1], question=texts[0], citations=citations, asked=texts[0]))
    n_leaked = 0
    for event, value in zip(events, values, strict=True):
        objects = MemoryObjects()
        [found] = proposals(event, objects=objects, personal_data=personal_data)
        topic = EXAMPLE_PROPOSED if isinstance(found, ExampleProposed) else EXAMPLE_CURATED
        record = codec.record(topic, found)
        written = b"".join([*objects.objects.values(), record.value or b"", repr(record.headers).encode()])
        text = written.decode("utf-8", "replace").replace("\\n", "\n")
        n_leaked += value in text
    return n_leaked, len(values)


def test_personal_data_of_all_kinds_reaches_neither_object_nor_event() -> None:
    n_leaked, n_drawn = _leaks(PersonalDataFinder(), 60)
    assert n_drawn == 420
    assert n_leaked == 0


def test_without_masking_they_all_would() -> None:
    n_leaked, n_drawn = _leaks(MemoryPersonalData({}), 3)
    assert n_leaked == n_drawn


def test_a_redelivery_writes_the_same_object_and_the_same_event() -> None:
    objects = MemoryObjects()
    first, second = proposals(corrected(), corrected(), objects=objects)
    assert first == second
    assert first.meta.id == second.meta.id
    assert len(objects.objects) == 1
    assert of(ExampleProposed, [first, second])


@pytest.mark.parametrize(
    "fields",
    [
        {"groups": ("*", "user:eva@example.org")},
        {"citations": (quote("Leave is eighteen weeks.", "people/eva@example.org/leave.md"),)},
        {"citations": (), "hits": (hit("people/eva@example.org/leave.md"),)},
    ],
)
def test_what_is_named_after_somebody_is_no_example(fields: dict[str, Any]) -> None:
    objects = MemoryObjects()
    [found] = proposals(corrected(text="eighteen weeks", **fields), objects=objects)
    assert isinstance(found, ExampleRejected)
    assert (found.reason, objects.objects) == ("personal_data", {})


def test_an_approved_answer_that_quotes_a_document_named_after_somebody_is_no_example() -> None:
    objects = MemoryObjects()
    quoted = (quote("Leave is eighteen weeks."), quote("Ask her.", "people/eva@example.org/leave.md"))
    [found] = proposals(approved(citations=quoted), objects=objects)
    assert (found.reason, found.document, objects.objects) == ("personal_data", "hr/leave.md", {})
    [control] = proposals(approved(citations=quoted[:1]), objects=objects)
    assert isinstance(control, ExampleProposed)


def test_retrieved_documents_that_are_named_after_somebody_are_left_out() -> None:
    objects = MemoryObjects()
    hits = (hit(), hit("people/eva@example.org/leave.md", rank=2))
    [found] = proposals(corrected(text="eighteen weeks", hits=hits), objects=objects)
    assert [each.document for each in decode(found.ref, objects.objects[found.ref]).retrieved] == ["hr/leave.md"]
