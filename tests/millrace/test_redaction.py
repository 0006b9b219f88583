from inference.personal_data import PersonalDataFinder
from infra.guarding import without_findings
from millrace.dead_letters import Letter
from millrace.errors import InputRejected
from millrace.invoke import describe
from millrace.reader import RawRecord
from millrace.redaction import redacted, using
from streams.dead_letters import letter_of

ADDRESS, CARD, TOKEN = "ann@example.org", "4111 1111 1111 1111", "ghp_" + "a1B2" * 9
ERROR = InputRejected(f"field 'owner' is {ADDRESS}, card {CARD}, token {TOKEN}; leave them out")
MASKED = "field 'owner' is [EMAIL_ADDRESS], card [CREDIT_CARD], token [GITHUB_TOKEN]; leave them out"
FIND = without_findings(PersonalDataFinder())


def letter() -> Letter:
    record = RawRecord("some.topic.v1", 0, 7, 0, b"t/acme", b"{}", [])
    made = letter_of(record, ERROR, agent="a")
    headers = tuple(made.headers)
    return Letter(topic=made.topic, partition=0, offset=0, key=made.key, value=made.value, headers=headers)


def test_messages_of_dead_letters_and_failed_answers_are_masked() -> None:
    with using(FIND):
        assert describe(ERROR, "a") == MASKED
        assert letter().error["message"] == MASKED


def test_without_it_they_carry_what_the_error_says() -> None:
    assert ADDRESS in describe(ERROR, "a")
    assert CARD in letter().error["message"]


def test_it_ends_with_its_context_also_within_another() -> None:
    with using(str.upper):
        with using(str.lower):
            assert redacted("aB") == "ab"
        assert redacted("aB") == "AB"
    assert redacted("aB") == "aB"
