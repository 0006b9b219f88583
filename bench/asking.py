"""Time until the first frame of a streamed answer, by each of the ways that a question can go."""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Any

import httpx
import msgspec

from agents.ports import QueryPorts
from agents.query import answer_question
from bench.ingest import put_all
from bench.manual import TENANT, manual, name_of
from bench.ping import question_event
from millrace.client import Millrace
from millrace.errors import InputRejected, Unavailable
from millrace.events.query import AnswerDelta
from millrace.invoke import Invoker, Output, Progress

_LIMIT_S = 30.0
_SCANS_S = 120.0


class Ports:
    """Keeps the ports that the worker's run of question agents was given; `adapt` is for `running_stack`.

    The threshold of an answer is taken away: it is set for the model, and what is embedded by hashing lies below it.
    """

    def __init__(self) -> None:
        self._found: QueryPorts | None = None

    def adapt(self, ports: Any) -> Any:
        """The same ports, with an answer to every question."""
        if not isinstance(ports, QueryPorts):
            return ports
        policy = msgspec.structs.replace(ports.policy, answer_threshold=0.0)
        self._found = msgspec.structs.replace(ports, policy=policy)
        return self._found

    @property
    def of_questions(self) -> QueryPorts:
        """Ports of the question path.

        Raises
        ------
        LookupError
            If its agents do not run yet.
        """
        if self._found is None:
            raise LookupError("no agent of the question path runs yet")
        return self._found


async def prepare(client: Millrace, ports: QueryPorts, n_chambers: int) -> None:
    """Put the manual in, and wait until it can be asked about and all of it has been scanned.

    Raises
    ------
    Unavailable
        If the scans do not end in time.
    """
    await put_all(client, manual(n_chambers), tenant=TENANT)
    names = [name_of(chamber) for chamber in range(n_chambers)]
    try:
        async with asyncio.timeout(_SCANS_S):
            while not await _all_scanned(ports, names):  # noqa: ASYNC110 - what is watched has no event
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise Unavailable(f"{n_chambers} documents were not scanned within {_SCANS_S:g} s") from error


async def _all_scanned(ports: QueryPorts, documents: Collection[str]) -> bool:
    for document in documents:
        version = ports.visibility.current(TENANT, document)
        if version is None or version.text is None or await ports.known_scans.get(TENANT, version.text) is None:
            return False
    return True


async def over_topics(client: Millrace, questions: Sequence[str]) -> list[float]:
    """Milliseconds until the client has the first frame; each answer is read to its end before the next question."""
    return [await _first(client, question) for question in questions]


async def _first(client: Millrace, question: str) -> float:
    first_ms = 0.0
    began = time.perf_counter()
    async for part in client.ask_stream(question, tenant=TENANT, timeout_s=_LIMIT_S):
        if isinstance(part, AnswerDelta):
            first_ms = first_ms or (time.perf_counter() - began) * 1000
    return _streamed(first_ms, question)


async def through_gateway(http: httpx.AsyncClient, questions: Sequence[str]) -> list[float]:
    """The same for a caller of the gateway who reads server-sent events."""
    return [await _first_event(http, question) for question in questions]


async def _first_event(http: httpx.AsyncClient, question: str) -> float:
    first_ms = 0.0
    began = time.perf_counter()
    body = {"question": question, "timeout_s": _LIMIT_S}
    async with http.stream("POST", "/v1/questions", json=body, headers={"Accept": "text/event-stream"}) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line == "event: delta":
                first_ms = first_ms or (time.perf_counter() - began) * 1000
    return _streamed(first_ms, question)


async def in_process(ports: QueryPorts, questions: Sequence[str]) -> list[float]:
    """The same where the agents' own functions are called one after the other, and nothing is sent anywhere."""
    invoker = Invoker(answer_question)
    return [await _first_output(invoker, ports, question) for question in questions]


async def _first_output(invoker: Invoker, ports: QueryPorts, question: str) -> float:
    first_ms = 0.0
    began = time.perf_counter()

    async def keep(_: str, outputs: Sequence[Output]) -> None:
        nonlocal first_ms
        if any(isinstance(output.event, AnswerDelta) for output in outputs):
            first_ms = first_ms or (time.perf_counter() - began) * 1000

    event = question_event(question, tenant=TENANT, timeout_ms=round(_LIMIT_S * 1000))
    await invoker.run(event, ports, keep, Progress())
    return _streamed(first_ms, question)


def _streamed(first_ms: float, question: str) -> float:
    if not first_ms:
        raise InputRejected(f"nothing was streamed for {question[:200]!r}; the manual answers it")
    return first_ms
