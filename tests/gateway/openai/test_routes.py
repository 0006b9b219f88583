"""The openai package's own client talks to the interface, and is told the truth when something goes wrong."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

from gateway.openai.routes import routes
from gateway.openai.wire import NOTHING_FOUND
from gateway.problems import Problem
from gateway.settings import GatewaySettings, Limits, OpenAIPolicy
from millrace.events.query import AnswerFailed, AnswerRetracted
from millrace.groups import EVERYONE
from tests.fakes import CountingEmbedder
from tests.gateway.stocked import CORRELATION, Stocked, ended, piece, stocked

FAILED = AnswerFailed(tenant="acme", correlation=CORRELATION, error_type="read_failed", message="nothing could be read")
RETRACTED = AnswerRetracted(tenant="acme", correlation=CORRELATION, reason="no longer visible")
MESSAGES: Any = [{"role": "user", "content": "What is the hotel limit?"}]


def client_of(made: Stocked, **claims: Any) -> AsyncOpenAI:
    http: Any = made.client(**{"X-Test": "1"})
    key = claims.pop("key", None) or made.token(**claims)
    return AsyncOpenAI(base_url="http://gateway/v1", api_key=key, http_client=http, max_retries=0)


async def streamed(client: AsyncOpenAI, **options: Any) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(model="millrace", messages=MESSAGES, stream=True, **options)
    return [chunk async for chunk in stream]


async def gather(stream: Any, seen: list[ChatCompletionChunk]) -> None:
    """Keep what comes, also when it ends with an error."""
    async for chunk in stream:
        seen.append(chunk)  # noqa: PERF401 - what came before an error counts


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_a_question_comes_back_with_its_answer_and_citations() -> None:
    made = stocked(routes)
    found = await client_of(made).chat.completions.create(model="millrace", messages=MESSAGES, temperature=0.2)
    (choice,) = found.choices
    assert choice.message.content == "The limit is 140 euros."
    assert [quote["document"] for quote in choice.citations] == ["travel.md"]  # type: ignore[attr-defined]
    assert found.usage is not None
    assert found.usage.completion_tokens == 5
    ((identity, ask),) = made.asking.asked
    assert (identity.tenant, identity.user, identity.groups) == ("acme", "ada", (EVERYONE,))
    assert ask.question == "What is the hotel limit?"


async def test_a_stream_grows_to_the_same_answer_and_ends_with_citations() -> None:
    made = stocked(routes, script=[piece("The limit "), piece("is 140 ", 1), ended()])
    chunks = await streamed(client_of(made), stream_options={"include_usage": True})
    assert text_of(chunks) == "The limit is 140 euros."
    *_, last, usage = chunks
    assert last.choices[0].finish_reason == "stop"
    assert last.choices[0].citations[0]["quote"] == "The limit is 140 euros."  # type: ignore[attr-defined]
    assert usage.choices == []
    assert usage.usage is not None
    assert made.asking.n_open == 0


async def test_usage_comes_only_where_it_was_asked_for() -> None:
    chunks = await streamed(client_of(stocked(routes)))
    assert all(chunk.choices for chunk in chunks)


async def test_a_watermark_is_of_use_to_its_caller_alone() -> None:
    made = stocked(routes)
    found = await client_of(made).chat.completions.create(model="millrace", messages=MESSAGES)
    sealed = found.millrace["watermark"]  # type: ignore[attr-defined]
    (ada, _), seals = made.asking.asked[0], made.service.seals
    assert seals.open("watermark", ada, sealed) == b"7"
    assert seals.open("watermark", msgspec.structs.replace(ada, tenant="other"), sealed) is None


@pytest.mark.parametrize("stream", [False, True])
async def test_the_user_field_never_says_who_asks(stream: bool) -> None:
    made = stocked(routes)
    await client_of(made).chat.completions.create(
        model="millrace", messages=MESSAGES, user="mallory", safety_identifier="admin", stream=stream
    )
    assert made.asking.asked[0][0].user == "ada"


async def test_an_answer_that_is_not_there_is_said_in_words() -> None:
    made = stocked(routes, script=[ended("", found=False)])
    found = await client_of(made).chat.completions.create(model="millrace", messages=MESSAGES)
    assert found.choices[0].message.content == NOTHING_FOUND
    assert text_of(await streamed(client_of(made))) == NOTHING_FOUND


async def test_a_length_that_was_asked_for_is_kept_and_said() -> None:
    made = stocked(routes)
    found = await client_of(made).chat.completions.create(model="millrace", messages=MESSAGES, max_tokens=2)
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == ("The limit", "length")
    chunks = await streamed(client_of(made), max_completion_tokens=2)
    assert (text_of(chunks), chunks[-1].choices[0].finish_reason) == ("The limit", "length")


async def test_what_was_streamed_and_is_taken_back_ends_the_stream_as_filtered_with_an_error() -> None:
    made = stocked(routes, script=[piece("The secret is"), RETRACTED])
    seen: list[ChatCompletionChunk] = []
    stream = await client_of(made).chat.completions.create(model="millrace", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="taken back"):
        await gather(stream, seen)
    assert seen[-1].choices[0].finish_reason == "content_filter"
    assert made.asking.n_open == 0


async def test_a_later_attempt_that_reads_differently_ends_the_stream_in_the_same_way() -> None:
    made = stocked(routes, script=[piece("It is 140"), piece("It was 90", attempt=1), ended("It was 90")])
    with pytest.raises(openai.APIError, match="begun anew"):
        await streamed(client_of(made))


async def test_a_stream_that_fails_on_its_way_says_so_and_has_no_good_end() -> None:
    made = stocked(routes, script=[piece("It is"), FAILED])
    seen: list[ChatCompletionChunk] = []
    stream = await client_of(made).chat.completions.create(model="millrace", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="nothing could be read"):
        await gather(stream, seen)
    assert all(chunk.choices[0].finish_reason is None for chunk in seen)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("end", "status"),
    [
        (FAILED, 422),
        (RETRACTED, 422),
        (Problem(503, "overloaded", "too many", retry_after_s=2), 503),
        (Problem(429, "too_many_tokens", "used up", retry_after_s=30), 429),
        (TimeoutError(), 503),
    ],
    ids=["failed", "retracted", "overloaded", "too many", "late"],
)
async def test_what_has_no_answer_has_a_status_and_an_error_of_openais_shape(
    end: Any, status: int, stream: bool
) -> None:
    made = stocked(routes, script=[end])
    with pytest.raises(openai.APIStatusError) as caught:
        await client_of(made).chat.completions.create(model="millrace", messages=MESSAGES, stream=stream)
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert {"message", "type", "param", "code"} == caught.value.body.keys()
    assert ("retry-after" in caught.value.response.headers) == (status in {429, 503})
    assert made.asking.n_open == 0


async def test_without_a_valid_key_nothing_is_told() -> None:
    made = stocked(routes)
    with pytest.raises(openai.AuthenticationError) as caught:
        await client_of(made, key="guess").chat.completions.create(model="millrace", messages=MESSAGES)
    assert caught.value.response.json()["error"]["code"] == "invalid_api_key"
    assert made.asking.asked == []


async def test_a_key_without_the_scope_may_not_ask() -> None:
    made = stocked(routes)
    with pytest.raises(openai.PermissionDeniedError):
        await client_of(made, scopes=["read"]).models.list()


async def test_a_model_that_is_not_here_is_not_found() -> None:
    made = stocked(routes)
    client = client_of(made)
    with pytest.raises(openai.NotFoundError, match="gpt-9") as caught:
        await client.chat.completions.create(model="gpt-9", messages=MESSAGES)
    assert caught.value.code == "model_not_found"
    for name in ("gpt-9", "gpt\n9", "a/b"):
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve(name)
        assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model="millrace", input="x")


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"model": "millrace"}', "application/json", 400),
        (b"{}", "text/plain", 415),
        (b" " * 2_000, "application/json", 413),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_in_openais_shape(content: bytes, kind: str, status: int) -> None:
    made = stocked(routes, settings=GatewaySettings(limits=Limits(body_bytes=1_000)))
    async with made.client(**made.bearer()) as client:
        response = await client.post("/v1/chat/completions", content=content, headers={"Content-Type": kind})
    assert response.status_code == status
    assert response.json()["error"]["message"]


async def test_the_models_are_the_one_that_answers_and_the_one_that_embeds() -> None:
    made = stocked(routes, embedder=CountingEmbedder(), settings=GatewaySettings(openai=OpenAIPolicy(model="handbook")))
    client = client_of(made)
    names = [model.id async for model in client.models.list()]
    assert names == ["handbook", CountingEmbedder().model]
    for name in names:
        assert (await client.models.retrieve(name)).id == name


@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_texts_are_embedded_as_the_corpus_is(encoding: Any) -> None:
    made = stocked(routes, embedder=CountingEmbedder())
    options = {"encoding_format": encoding} if encoding else {}
    found = await client_of(made).embeddings.create(model=CountingEmbedder().model, input=["a b", "c"], **options)
    given: list[Any] = [each.embedding for each in found.data]  # the client leaves base64 that was asked for as it is
    rows = [
        np.frombuffer(base64.b64decode(row), dtype="<f4") if isinstance(row, str) else np.array(row, dtype=np.float32)
        for row in given
    ]
    assert np.allclose(np.stack(rows), await CountingEmbedder().embed(["a b", "c"]))


async def test_embedding_spends_the_tenants_tokens() -> None:
    settings = GatewaySettings(limits=Limits(tokens_per_minute=300))
    made = stocked(routes, embedder=CountingEmbedder(), settings=settings)
    client, model = client_of(made), CountingEmbedder().model
    await client.embeddings.create(model=model, input="x" * 800)
    with pytest.raises(openai.RateLimitError) as caught:
        await client.embeddings.create(model=model, input="x" * 800)
    assert int(caught.value.response.headers["retry-after"]) > 0
    await client_of(made, tenant="other").embeddings.create(model=model, input="x" * 800)
