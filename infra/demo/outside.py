"""The steps of the demo that come from outside: over HTTP, as an OpenAI client, and in a browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from gateway.people import HEADER
from infra.demo.steps import ALLOWANCE, KIM, MARIA, TRAVEL, Demo

PEOPLE: Final = tuple({"name": who["user"], "groups": who["groups"]} for who in (KIM, MARIA))
"""Who a visitor of the demo's pages may say to be."""
_TIMEOUT_S: Final = 30.0
_EVENTS: Final = "text/event-stream"


async def ask_over_http(demo: Demo, url: str) -> None:
    """An app asks the gateway: for the whole answer, and for a stream of its pieces."""
    demo.report.begin("ask from outside, over HTTP")
    question = {"question": ALLOWANCE}
    status, body = await _post(f"{url}/v1/questions", question, "kim")
    answer = json.loads(body)
    found = [citation["document"] for citation in answer.get("citations", ())]
    demo.report.say(f"POST /v1/questions: {status}, {answer.get('text', body)[:100]}")
    demo.report.check(f"quotes {TRAVEL}", TRAVEL in found, body[:200])
    _, stream = await _post(f"{url}/v1/questions", question, "kim", accept=_EVENTS)
    events = [line.partition(":")[2].strip() for line in stream.splitlines() if line.startswith("event:")]
    demo.report.say(f"the same as a stream: {', '.join(events)}")
    demo.report.check("pieces come before the end", "delta" in events and events[-1:] == ["completed"], str(events))
    status, body = await _post(f"{url}/v1/questions", question, "")
    demo.report.check("nobody in particular gets no answer", status == 401, f"{status} {body[:100]}")


async def chat(demo: Demo, url: str) -> None:
    """A client made for OpenAI asks by another address alone."""
    demo.report.begin("the same as an OpenAI client would ask")
    body = {"model": "millrace", "messages": [{"role": "user", "content": ALLOWANCE}]}
    status, text = await _post(f"{url}/v1/chat/completions", body, "kim")
    choices = json.loads(text).get("choices") or [{}]
    content = choices[0].get("message", {}).get("content") or ""
    demo.report.say(f"POST /v1/chat/completions: {status}, {content[:100]}")
    demo.report.check("the answer is the assistant's message", "66 euros" in content, text[:200])


async def look(demo: Demo, url: str) -> None:
    """The pages are there for a browser."""
    demo.report.begin("pages: ask, look into documents, follow a question")
    demo.report.say(f"{url}/")
    status, page = await _get(f"{url}/")
    demo.report.check("the page asks for a question", status == 200 and "<form" in page, f"{status} {page[:100]}")


async def _post(url: str, body: Mapping[str, Any], person: str, accept: str = "application/json") -> tuple[int, str]:
    headers = {"content-type": "application/json", "accept": accept} | ({HEADER: person} if person else {})
    return await asyncio.to_thread(_open, Request(url, json.dumps(body).encode(), headers))  # noqa: S310 - our gateway


async def _get(url: str) -> tuple[int, str]:
    return await asyncio.to_thread(_open, Request(url))  # noqa: S310


def _open(request: Request) -> tuple[int, str]:
    try:
        with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode(errors="replace")
