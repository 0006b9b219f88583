"""Completions and chunks are what the openai package's own types say."""

from __future__ import annotations

from typing import Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.openai.wire import NOTHING_FOUND, Outcome, Reply
from gateway.sources import source_link
from millrace.events.query import Citation

REPLY = Reply(model="millrace", created=1_700_000_000, prompt="What is the limit?", link=source_link("https://g"))


def citation(quote: str, document: str = "a/b c.md", start: int = 7) -> Citation:
    return Citation(
        document=document,
        version=2,
        chunk_id="c",
        title="Travel",
        heading="Hotels",
        start=start,
        end=start + len(quote),
        quote=quote,
    )


def outcome(*quotes: str, found: bool = True) -> Outcome:
    return Outcome(
        text="\n".join(quotes),
        found=found,
        correlation="f00",
        citations=tuple(citation(quote) for quote in quotes),
        watermark="w",
        conversation="c1",
        model="reader",
    )


def completion(given: Outcome, **options: Any) -> ChatCompletion:
    return ChatCompletion.model_validate(REPLY.completion(given.content, given, **options), strict=True)


def test_a_completion_has_text_citations_and_what_was_used() -> None:
    found = completion(outcome("140 euros.", "42 euros."))
    assert found.id == "chatcmpl-f00"
    (choice,) = found.choices
    assert (choice.message.content, choice.finish_reason) == ("140 euros.\n42 euros.", "stop")
    assert found.usage == CompletionUsage(prompt_tokens=4, completion_tokens=4, total_tokens=8)
    assert choice.citations[0] == {  # type: ignore[attr-defined]  # the extension
        "document": "a/b c.md",
        "version": 2,
        "title": "Travel",
        "heading": "Hotels",
        "start": 7,
        "end": 17,
        "quote": "140 euros.",
        "url": choice.citations[0]["url"],  # type: ignore[attr-defined]
    }
    assert found.millrace["watermark"] == "w"  # type: ignore[attr-defined]


def test_annotations_say_where_in_the_text_each_quote_stands() -> None:
    found = completion(outcome("same", "same", "other"))
    text, annotations = found.choices[0].message.content or "", found.choices[0].message.annotations or []
    spans = [(each.url_citation.start_index, each.url_citation.end_index) for each in annotations]
    assert [text[start:end] for start, end in spans] == ["same", "same", "other"]
    assert len(set(spans)) == 3


def test_a_quote_that_is_not_in_the_text_word_for_word_has_no_place_there() -> None:
    masked = Outcome(text="card [masked]", found=True, correlation="f", citations=(citation("card 4111"),))
    found = completion(masked)
    assert found.choices[0].message.annotations == []
    assert len(found.choices[0].citations) == 1  # type: ignore[attr-defined]


def test_an_answer_that_was_not_found_says_so_and_is_no_error() -> None:
    found = completion(Outcome(text="", found=False, correlation="f"))
    assert found.choices[0].message.content == NOTHING_FOUND
    assert found.millrace["found"] is False  # type: ignore[attr-defined]
    assert found.choices[0].message.annotations is None


def test_chunks_of_a_stream_are_those_of_the_client() -> None:
    given = outcome("140 euros.")
    chunks = [
        ChatCompletionChunk.model_validate(chunk, strict=True)
        for chunk in (
            REPLY.opening("f00"),
            REPLY.piece("f00", "140 euros."),
            REPLY.closing("140 euros.", given, cut=True),
            REPLY.used("f00", "140 euros."),
            REPLY.withdrawn("f00"),
        )
    ]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons == [None, None, "length", "content_filter"]
    assert chunks[2].choices[0].citations[0]["quote"] == "140 euros."  # type: ignore[attr-defined]
    assert chunks[3].usage is not None
    assert chunks[3].choices == []


def test_an_address_of_a_source_names_document_version_and_span() -> None:
    url = completion(outcome("140 euros.")).choices[0].citations[0]["url"]  # type: ignore[attr-defined]
    assert url.startswith("https://g/")
    assert "a%2Fb%20c.md" in url
    assert "version=2" in url
    assert "start=7" in url
    assert "end=17" in url
