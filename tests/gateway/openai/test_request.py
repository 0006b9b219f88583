"""A parameter is honoured, ignored where nobody is misled, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from openai.types.chat import completion_create_params

from gateway.openai.errors import Refused
from gateway.openai.request import IGNORED, NEUTRAL, ChatRequest, ask_of, question_of
from gateway.service import Ask
from millrace.events.query import Receipt

USER = {"role": "user", "content": "What is the hotel limit?"}
RECEIPT = Receipt("acme", "a.md", 3)


def request(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "millrace", "messages": [USER], **fields})


def receipts(tokens: Sequence[str]) -> tuple[Receipt, ...]:
    return tuple({"t1": RECEIPT}[token] for token in tokens)


def asked(**fields: Any) -> Ask:
    return ask_of(
        request(**fields),
        receipts=receipts,
        timeout_s=lambda given: given or 30.0,
        max_messages=8,
        max_characters=1000,
    )


def refused(**fields: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        asked(**fields)
    return caught.value


def test_the_last_user_message_is_the_question_and_earlier_turns_are_not_read() -> None:
    turns = [
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": "What was before?"},
        {"role": "assistant", "content": "This."},
        USER,
    ]
    assert asked(messages=turns).question == "What is the hotel limit?"
    assert asked(messages=[*turns, {"role": "assistant", "content": "The"}]).question == "What is the hotel limit?"


def test_a_question_in_parts_of_text_is_one_text() -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "the limit?"}]
    assert question_of(request(messages=[{"role": "user", "content": parts}]), max_messages=1, max_characters=99) == (
        "What is\nthe limit?"
    )


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "system", "content": "x"}],
        [USER] * 9,
        [{"role": "user", "content": "x" * 1001}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org"}}]}],
    ],
    ids=["none", "no user", "too many", "too long", "a picture"],
)
def test_messages_that_hold_no_question_or_too_much_are_refused(messages: list[dict[str, Any]]) -> None:
    assert refused(messages=messages).status_code == 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "f"}]),
        ("function_call", {"name": "f"}),
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {}}),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("stop", ["\n"]),
        ("logit_bias", {"50256": -100}),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x"}),
        ("web_search_options", {}),
    ],
)
def test_what_would_make_the_answer_a_lie_is_refused_by_name(name: str, value: Any) -> None:
    error = refused(**{name: value})
    assert (error.status_code, error.param, error.name) == (400, name, "unsupported_parameter")


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in NEUTRAL.items() for value in values])
def test_a_parameter_that_promises_nothing_is_taken(name: str, value: Any) -> None:
    assert asked(**{name: value}).question == "What is the hotel limit?"


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_how_a_model_samples_changes_nothing_here(name: str) -> None:
    assert asked(**{name: "anything"}) == asked()


def test_every_parameter_that_the_client_knows_is_decided_upon() -> None:
    known = set(completion_create_params.CompletionCreateParamsBase.__annotations__) | {"stream"}
    assert known - IGNORED - NEUTRAL.keys() - ChatRequest.model_fields.keys() == set()


def test_a_parameter_that_nobody_knows_is_refused() -> None:
    assert refused(top_k=3).name == "unknown_parameter"


def test_neither_the_user_field_nor_another_one_decides_who_asks() -> None:
    assert asked(user="maria") == asked()
    assert refused(tenant="other").name == "unknown_parameter"
    with pytest.raises(ValueError, match="tenant"):
        request(millrace={"tenant": "other"})


WANTED = Ask(
    question="What is the hotel limit?",
    conversation="c1",
    top_k=3,
    labels={"team": "hr"},
    after=(RECEIPT,),
    watermark="w",
    exact=True,
    timeout_s=5.0,
)


def test_options_stand_in_an_object_of_their_own() -> None:
    options = {"labels": {"team": "hr"}, "top_k": 3, "after": ["t1"], "watermark": "w", "conversation": "c1"}
    assert asked(millrace={**options, "exact": True, "timeout_s": 5}) == WANTED


def test_options_may_stand_in_the_metadata_for_clients_that_can_send_nothing_else() -> None:
    named = {
        "millrace.label.team": "hr",
        "millrace.top_k": "3",
        "millrace.after": "t1",
        "millrace.watermark": "w",
        "millrace.conversation": "c1",
        "millrace.exact": "true",
        "millrace.timeout_s": "5",
        "session": "of the client's own",
    }
    assert asked(metadata=named) == WANTED


@pytest.mark.parametrize("options", [{"conversation": "a\nb"}, {"labels": {"team": "\x07"}}, {"top_k": 0}])
def test_names_that_no_key_of_a_topic_should_hold_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        request(millrace=options)


@pytest.mark.parametrize(
    "named", [{"millrace.top_k": "many"}, {"millrace.top_k": "0"}, {"millrace.tenant": "other"}, {"millrace.": "x"}]
)
def test_metadata_that_names_no_option_is_refused_without_its_value(named: dict[str, str]) -> None:
    error = refused(metadata=named)
    assert error.param == "metadata"
    assert not any(value in error.detail for value in named.values() if len(value) > 1)


def test_options_in_both_places_are_refused() -> None:
    assert refused(metadata={"millrace.top_k": "3"}, millrace={"top_k": 3}).param == "metadata"


def test_the_smaller_of_both_names_of_a_length_counts() -> None:
    assert request().longest is None
    assert request(max_tokens=5, max_completion_tokens=3).longest == 3
