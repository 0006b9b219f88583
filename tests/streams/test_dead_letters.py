"""Dead letters keep the bytes and say why, and say nothing that they must not."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from millrace.dead_letters import Letter, replayed
from millrace.errors import InputRejected
from streams.dead_letters import letter_of


@dataclass
class Consumed:
    topic: str = "t"
    partition: int = 3
    offset: int = 9
    key: bytes | None = b"k"
    value: bytes | None = b"\x00v"
    headers: Sequence[tuple[str, bytes]] = field(
        default_factory=lambda: [("ce_id", b"i"), ("traceparent", b"00-abc-def-01")]
    )


def letter(record: Consumed, error: BaseException | None = None) -> Letter:
    """What the SDK reads of the letter that a worker writes."""
    made = letter_of(record, error or InputRejected("too odd"), agent="a", stage="s", attempt=2)
    return Letter.of(Consumed(made.topic, made.partition or 0, 5, made.key, made.value, made.headers))


def test_a_letter_names_its_origin_and_cause() -> None:
    assert letter(Consumed()).error == {
        "type": "rejected", "stage": "s", "attempt": "2", "agent": "a", "topic": "t", "partition": "3", "offset": "9",
        "trace-id": "abc", "message": "too odd",
    }  # fmt: skip


def test_the_text_of_an_unknown_exception_is_not_published() -> None:
    assert "secret" not in letter(Consumed(), ValueError("the secret text of a document")).error["message"]


def test_a_letter_put_back_is_its_original_marked() -> None:
    record = replayed(letter(Consumed()))
    assert (record.topic, record.partition, record.key, record.value) == ("t", 3, b"k", b"\x00v")
    assert record.headers == [*Consumed().headers, ("mr-replayed-from", b"t.dlq/3/5")]
