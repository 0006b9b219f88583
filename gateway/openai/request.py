"""What a chat request may say, and the question it asks: pure.

A parameter is honoured, ignored because leaving it out changes nothing that a client could be misled about, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.http.questions import Name
from gateway.openai.errors import Refused
from gateway.service import Ask
from millrace.events.query import Receipt

IGNORED: Final = frozenset(
    {
        "frequency_penalty",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "temperature",
        "top_p",
        "user",
        "verbosity",
    }
)
"""How a model samples, what it costs, who an end user is: answers are quotes, and a token says who asks."""

NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "audio": (None,),
    "function_call": (None, "none"),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "modalities": (None, ["text"]),
    "moderation": (None,),
    "n": (None, 1),
    "response_format": (None, {"type": "text"}),
    "stop": (None, [], ""),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "top_logprobs": (None, 0),
    "web_search_options": (None,),
}
"""Parameters that promise something no answer here keeps, with the values that promise nothing."""

_PREFIX: Final = "millrace."
_LABEL: Final = "millrace.label."


class Part(BaseModel):
    """One part of a message."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: str | None = None


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None


class StreamOptions(BaseModel):
    """How to stream."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool = False


class Options(BaseModel):
    """What OpenAI's interface has no name for; the field `millrace` of a request.

    Attributes
    ----------
    labels : dict of str to str
        Only documents with these labels.
    top_k : int
        How many chunks to retrieve.
    after : str or list of str
        Receipts of changes that must be visible to this question.
    watermark : str
        The ``watermark`` of an earlier answer that this one must not go back behind.
    conversation : str
        Conversation it belongs to.
    exact : bool
        Search the visible set exhaustively.
    timeout_s : float
        Time allowed, in seconds.
    """

    model_config = ConfigDict(extra="forbid")

    labels: dict[Name, Name] = Field(default={}, max_length=16)
    top_k: Annotated[int, Field(ge=1, le=100)] = 10
    after: Annotated[str, Field(max_length=64 * 1024)] | Annotated[list[str], Field(max_length=64)] = ""
    watermark: Annotated[str, Field(max_length=8192)] = ""
    conversation: Name = ""
    exact: bool = False
    timeout_s: Annotated[float, Field(gt=0, le=600)] | None = None


class ChatRequest(BaseModel):
    """Body of ``POST /v1/chat/completions``; every other parameter is looked at by name."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[Message]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    metadata: dict[str, str] | None = Field(default=None, max_length=16)
    millrace: Options | None = None

    @property
    def longest(self) -> int | None:
        """Words that the answer may have; None for any number."""
        given = [n for n in (self.max_tokens, self.max_completion_tokens) if n is not None]
        return min(given, default=None)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with what was used."""
        return self.stream_options is not None and self.stream_options.include_usage


def check_parameters(request: ChatRequest) -> None:
    """Refuse what would make the answer a lie.

    Raises
    ------
    Refused
        A parameter is not supported, or nobody knows it.
    """
    for name, value in (request.model_extra or {}).items():
        if name in IGNORED:
            continue
        if name not in NEUTRAL:
            raise Refused(
                f"unknown parameter {name!r}; leave it out (Millrace's own go into the object 'millrace')",
                param=name,
                code="unknown_parameter",
            )
        if value not in NEUTRAL[name]:
            raise Refused(
                f"{name!r} is not supported: answers are quotes from documents, one a question, as plain text; "
                "leave it out",
                param=name,
                code="unsupported_parameter",
            )


def question_of(request: ChatRequest, *, max_messages: int, max_characters: int) -> str:
    """The last user message; what was said before is bounded and not read.

    Raises
    ------
    Refused
        There is none, it is no text, or the conversation is too long.
    """
    if len(request.messages) > max_messages:
        raise Refused(
            f"{len(request.messages)} messages were sent, at most {max_messages} are taken; leave out the oldest",
            param="messages",
        )
    texts = [_text(message, n) for n, message in enumerate(request.messages)]
    if (length := sum(map(len, texts))) > max_characters:
        raise Refused(
            f"the messages have {length} characters, at most {max_characters} are taken; leave out the oldest",
            param="messages",
            code="context_length_exceeded",
        )
    for message, text in zip(reversed(request.messages), reversed(texts), strict=True):
        if message.role == "user":
            return text
    raise Refused("no message has the role 'user'; the last one of them is the question", param="messages")


def _text(message: Message, n: int) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    if other := next((part.type for part in message.content if part.type != "text" or part.text is None), None):
        raise Refused(
            f"messages[{n}] has a part of type {other!r}, only 'text' is read; leave it out",
            param=f"messages[{n}].content",
            code="unsupported_content",
        )
    return "\n".join(part.text or "" for part in message.content)


def options_of(request: ChatRequest) -> Options:
    """Millrace's own options: the object `millrace`, else those that `metadata` names.

    Metadata holds strings: ``millrace.top_k``, ``millrace.after``, ``millrace.watermark``, ``millrace.conversation``,
    ``millrace.exact``, ``millrace.timeout_s``, and ``millrace.label.<name>`` for each label. Other names are the
    client's own.

    Raises
    ------
    Refused
        A name or value is none that exists, or both places name some.
    """
    named = {key: value for key, value in (request.metadata or {}).items() if key.startswith(_PREFIX)}
    if not named:
        return request.millrace or Options()
    if request.millrace is not None:
        raise Refused("both 'millrace' and 'metadata' hold options of Millrace; use one of them", param="metadata")
    labels = {key.removeprefix(_LABEL): value for key, value in named.items() if key.startswith(_LABEL)}
    plain = {key.removeprefix(_PREFIX): value for key, value in named.items() if not key.startswith(_LABEL)}
    try:
        return Options.model_validate({**plain, "labels": labels})
    except ValueError as error:
        raise Refused(f"metadata holds no valid options of Millrace: {first_fault(error)}", param="metadata") from error


def first_fault(error: ValueError) -> str:
    """Where and why a value does not fit, without the value: it may hold what nobody should read in a log."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return "it is not valid"
    first = errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def tokens_of(after: str | list[str]) -> list[str]:
    """Tokens of receipts, one or several."""
    return list(filter(None, [after] if isinstance(after, str) else after))


def ask_of(
    request: ChatRequest,
    *,
    receipts: Callable[[list[str]], tuple[Receipt, ...]],
    timeout_s: Callable[[float | None], float],
    max_messages: int,
    max_characters: int,
) -> Ask:
    """The question of a request.

    Parameters
    ----------
    receipts : callable
        Receipts of tokens, those that the caller was given.
    timeout_s : callable
        Time allowed, of what was asked for.
    max_messages, max_characters : int
        How much conversation is taken.

    Raises
    ------
    Refused
        It cannot be asked so.
    """
    check_parameters(request)
    question = question_of(request, max_messages=max_messages, max_characters=max_characters)
    options = options_of(request)
    return Ask(
        question=question,
        conversation=options.conversation,
        top_k=options.top_k,
        labels=options.labels,
        after=receipts(tokens_of(options.after)),
        watermark=options.watermark,
        exact=options.exact,
        timeout_s=timeout_s(options.timeout_s),
    )
