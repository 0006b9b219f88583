"""Dead letters go back as what they were."""

import pytest

from millrace.dead_letters import Letter, replayed
from millrace.errors import InvalidEvent


def letter(*headers: tuple[str, bytes]) -> Letter:
    """Letter of a record with these headers."""
    why = ("mr-error-type", b"unavailable")
    return Letter(topic="t.dlq", partition=3, offset=9, key=b"k", value=b"v", headers=(*headers, why))


def test_a_letter_names_its_source_and_its_cause() -> None:
    found = letter(("ce_id", b"i"))
    assert (found.id, found.source, found.error, found.header("ce_id"), found.header("none")) == (
        "t.dlq/3/9", "t", {"type": "unavailable"}, "i", "",
    )  # fmt: skip


def test_a_question_put_back_is_a_new_question_and_the_same_one_each_time() -> None:
    headers = [("ce_id", b"i"), ("ce_correlationid", b"c"), ("reply-to", b"r"), ("reply-partition", b"1")]
    first, again = (replayed(letter(*headers, ("deadline", b"1"))) for _ in range(2))
    found = dict(first.headers)
    assert first == again
    assert (first.topic, first.partition, first.key, first.value) == ("t", 3, b"k", b"v")
    assert set(found) == {"ce_id", "ce_correlationid", "mr-replayed-from"}
    assert found["ce_id"] == found["ce_correlationid"] not in (b"i", b"c")


def test_what_a_question_caused_keeps_its_identity() -> None:
    record = replayed(letter(("ce_id", b"i"), ("ce_causationid", b"q"), ("deadline", b"1")))
    assert dict(record.headers)["ce_id"] == b"i"


def test_a_letter_that_was_put_back_before_names_only_its_last_place() -> None:
    record = replayed(letter(("ce_id", b"i"), ("mr-replayed-from", b"t.dlq/0/0")))
    assert record.headers == [("ce_id", b"i"), ("mr-replayed-from", b"t.dlq/3/9")]


def test_a_letter_without_key_and_value_cannot_go_back() -> None:
    with pytest.raises(InvalidEvent, match="nothing to put back"):
        replayed(Letter(topic="a.dlq", partition=0, offset=0, key=None, value=None, headers=()))
