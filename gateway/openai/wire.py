"""Completions and chunks as OpenAI's clients read them: pure.

Beside OpenAI's own fields a choice has ``citations``, and the whole has ``millrace``. What a citation's quote is in the
text also stands in ``annotations``, which OpenAI's clients know by type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.openai.usage import usage_of
from gateway.sources import Link
from millrace.events.query import Citation

NOTHING_FOUND: Final = "Not in the documents you may see."


@dataclass(frozen=True)
class Reply:
    """What every chunk and completion of one answer names."""

    model: str
    created: int
    prompt: str
    link: Link

    def completion(self, text: str, outcome: Outcome, *, cut: bool = False) -> dict[str, Any]:
        """A whole answer; `text` is what of it is sent."""
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if outcome.citations:
            message["annotations"] = placed(text, outcome.citations, self.link)
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": "length" if cut else "stop",
            "logprobs": None,
            "citations": [cited(citation, self.link) for citation in outcome.citations],
        }
        return {
            **self._head("chat.completion", outcome.correlation),
            "choices": [choice],
            "usage": usage_of(self.prompt, text),
            "millrace": outcome.about(),
        }

    def opening(self, correlation: str) -> dict[str, Any]:
        """First chunk of a stream: who speaks."""
        return self._chunk(correlation, {"role": "assistant", "content": ""})

    def piece(self, correlation: str, text: str) -> dict[str, Any]:
        """A chunk with further text."""
        return self._chunk(correlation, {"content": text})

    def closing(self, text: str, outcome: Outcome, *, cut: bool = False) -> dict[str, Any]:
        """Last chunk of a stream, with citations; `text` is everything that was sent."""
        delta = {"annotations": placed(text, outcome.citations, self.link)} if outcome.citations else {}
        found = self._chunk(outcome.correlation, delta, "length" if cut else "stop")
        found["choices"][0]["citations"] = [cited(citation, self.link) for citation in outcome.citations]
        return found | {"millrace": outcome.about()}

    def withdrawn(self, correlation: str) -> dict[str, Any]:
        """Last chunk of a stream whose text must be discarded; an error follows it."""
        return self._chunk(correlation, {}, "content_filter")

    def used(self, correlation: str, text: str) -> dict[str, Any]:
        """Chunk after the last one, where a client asked what was used."""
        return {
            **self._head("chat.completion.chunk", correlation),
            "choices": [],
            "usage": usage_of(self.prompt, text),
        }

    def _chunk(self, correlation: str, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return {**self._head("chat.completion.chunk", correlation), "choices": [choice]}

    def _head(self, kind: str, correlation: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{correlation}", "object": kind, "created": self.created, "model": self.model}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What of an answer's end is told."""

    text: str
    found: bool
    correlation: str
    citations: tuple[Citation, ...] = ()
    watermark: str = ""
    conversation: str = ""
    model: str = ""
    cost_usd: float = 0.0

    @property
    def content(self) -> str:
        """The text, or what to say where the corpus holds no answer."""
        return self.text if self.found else NOTHING_FOUND

    def about(self) -> dict[str, Any]:
        """What OpenAI's interface has no name for."""
        return {
            "found": self.found,
            "correlation_id": self.correlation,
            "conversation": self.conversation,
            "watermark": self.watermark,
            "reader": self.model,
            "cost_usd": self.cost_usd,
        }


def cited(citation: Citation, link: Link) -> dict[str, Any]:
    """A citation: what was quoted, in which version of which document, and where to see it."""
    return {
        "document": citation.document,
        "version": citation.version,
        "title": citation.title,
        "heading": citation.heading,
        "start": citation.start,
        "end": citation.end,
        "quote": citation.quote,
        "url": link(citation),
    }


def placed(text: str, citations: Sequence[Citation], link: Link) -> list[dict[str, Any]]:
    """Where in the text each quote stands, in OpenAI's own form; one that is not in it word for word is left out."""
    found, at = [], 0
    for citation in citations:
        start = text.find(citation.quote, at)
        if start < 0 or not citation.quote:
            continue
        at = start + len(citation.quote)
        place = {
            "start_index": start,
            "end_index": at,
            "title": citation.title or citation.document,
            "url": link(citation),
        }
        found.append({"type": "url_citation", "url_citation": place})
    return found
