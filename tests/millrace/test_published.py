from infra.redaction import Redaction, personal_data
from millrace.dead_letters import Letter
from millrace.errors import InputRejected
from millrace.published import describe, mask_with
from millrace.reader import RawRecord
from streams.dead_letters import letter_of

ADDRESS, CARD, TOKEN = "ann@example.org", "4111 1111 1111 1111", "ghp_" + "a1B2" * 9
ERROR = InputRejected(f"field 'owner' is {ADDRESS}, card {CARD}, token {TOKEN}; leave them out")
MASKED = "field 'owner' is [EMAIL_ADDRESS], card [CREDIT_CARD], token [GITHUB_TOKEN]; leave them out"


def letter() -> Letter:
    record = RawRecord("some.topic.v1", 0, 7, 0, b"t/acme", b"{}", [])
    made = letter_of(record, ERROR, agent="a")
    headers = tuple(made.headers)
    return Letter(topic=made.topic, partition=0, offset=0, key=made.key, value=made.value, headers=headers)


def test_messages_of_dead_letters_and_failed_answers_are_masked() -> None:
    forget = mask_with(Redaction(personal=personal_data()))
    try:
        assert describe(ERROR, "a") == MASKED
        assert letter().error["message"] == MASKED
    finally:
        forget()


def test_without_it_they_carry_what_the_error_says() -> None:
    assert ADDRESS in describe(ERROR, "a")
    assert CARD in letter().error["message"]


def test_an_unknown_error_says_only_its_name() -> None:
    assert describe(ValueError(CARD), "a") == "ValueError in agent 'a'; see the worker's log"
