"""From scored answers to examples that count, whatever is delivered twice and in whatever order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from agents.learn.curation import curate
from agents.learn.examples import propose_example
from millrace.agent import spec_of
from millrace.events.learn import ExampleCurated, ExampleProposed, ExampleRejected
from millrace.examples.checks import check
from millrace.examples.content import decode
from millrace.examples.curated import Curation
from millrace.testing import Memory
from tests.fakes import MemoryObjects
from tests.learned import approved, corrected, hit, learning, quote

TOPICS = ("leave", "meals", "badges", "printers", "visas", "lunch", "parking", "keys", "lamps", "desks")


def _feedback(seed: int) -> list[Any]:
    """Answers of eight folders that thirty people corrected or approved; some said the same, or nearly."""
    rng = random.Random(seed)
    events = []
    for number in range(250):
        is_correction, about = rng.random() < 0.5, rng.choice(TOPICS)
        document = f"{about}/page-{rng.randrange(6)}.md"
        amount = rng.randrange(3, 40)
        question = f"How many {about} of kind {rng.randrange(9)} are there{rng.choice(['', ' now', ' today'])}?"
        text = f"There are {amount} {about} according to the list that the office keeps for jane@example.org."
        fields: dict[str, Any] = {"question": question, "hits": (hit(document),), "citations": (quote(text, document),)}
        kind: Callable[..., Any] = corrected if is_correction else approved
        if is_correction:
            fields["text"] = f"No: {rng.choice([text, f'it is {amount + 1} {about}'])}"
        events.append(kind(number, user=f"user-{rng.randrange(30)}", time_us=number * 3_600_000_000, **fields))
    return events


@pytest.mark.parametrize("seed", [1, 2])
async def test_from_scored_answers_to_examples_that_pass_every_check_whatever_is_delivered_twice(seed: int) -> None:
    objects = MemoryObjects()
    memory = Memory([spec_of(propose_example), spec_of(curate)], ports=learning(objects))
    events = _feedback(seed)
    emitted = await memory.feed(events)
    assert not memory.dead_letters
    outcomes = [event for event in emitted if isinstance(event, ExampleCurated | ExampleRejected)]
    proposals = [event for event in emitted if isinstance(event, ExampleProposed)]
    assert len(proposals) == len(outcomes) == len(events)
    assert {event.meta.causation_id for event in outcomes} == {event.meta.id for event in proposals}
    log = Curation()
    for event in outcomes:
        log.fold(event)
    loaded = [(each, decode(each.ref, objects.objects[each.ref])) for each in log.examples.values()]
    reasons = Counter(event.reason for event in log.rejected)
    assert len(loaded) > 80
    assert {"eval", "train"} == {each.split for each, _ in loaded}
    assert reasons.keys() & {"duplicate", "superseded", "user_cap"}
    found = check(loaded, learning()["propose_example"].personal_data.find)
    assert [problem for problem in found.problems if problem.check != "near_duplicate"] == []
    assert len([p for p in found.problems if p.check == "near_duplicate"]) <= 0.02 * len(loaded)
    again = await memory.feed(events)
    for repeated in again:
        if isinstance(repeated, ExampleCurated | ExampleRejected):
            log.fold(repeated)
    kept = Counter(each.split for each in log.examples.values())
    assert len(kept) == 2
    documents = {split: {e.document for e in log.examples.values() if e.split == split} for split in kept}
    assert not documents["train"] & documents["eval"]
