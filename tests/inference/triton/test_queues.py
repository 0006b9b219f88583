"""Who waits in the server for whom, and what becomes of those that wait too long."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient

from inference.minilm.artefact import Artefact
from inference.model_repository import ServingPolicy
from inference.triton import TritonConnection
from inference.triton.connection import Busy
from tests.conditions import until
from tests.inference.triton.serving import CORPUS, QUESTION, opened
from tests.tritons import StartTriton, closed

Gated = Callable[..., Path]


async def test_a_request_that_is_late_while_the_model_is_well_is_no_outage(
    gated: Gated, start_triton: StartTriton, artefact: Artefact, names: dict[str, str]
) -> None:
    repository = gated(ServingPolicy(instances=1))
    server = start_triton(repository, list(names.values()))
    async with opened(artefact, server.address("grpc"), bulk_deadline_s=0.5, proof_s=5.0) as embedder:
        gate = repository / names["bulk"] / "closed"
        gate.touch()
        corpus = asyncio.create_task(embedder.embed(CORPUS[:8]))  # one batch
        asyncio.get_running_loop().call_later(1.0, gate.unlink)
        with pytest.raises(TimeoutError, match="did not embed"):
            await corpus
        assert embedder._lanes["bulk"]._breaker.closed


async def test_a_full_queue_refuses_within_milliseconds_and_is_no_outage(
    gated: Gated, start_triton: StartTriton, artefact: Artefact, names: dict[str, str]
) -> None:
    repository = gated(ServingPolicy(instances=1, bulk_queue=4))
    server = start_triton(repository, list(names.values()))
    async with (
        opened(artefact, server.address("grpc"), bulk_in_flight=100) as embedder,
        opened(artefact, server.address("grpc")) as other,
    ):
        with closed(repository, names["bulk"]):
            waiting = [asyncio.create_task(other.embed(CORPUS[:8])) for _ in range(4)]  # each fills a batch
            await until(lambda: server.pending(names["bulk"]) >= 3)
            refused = asyncio.create_task(embedder.embed(CORPUS * 4))
            began = time.monotonic()
            with pytest.raises(Busy, match="Exceeds maximum queue size"):
                await refused
            assert time.monotonic() - began < 1.0
        for vectors in await asyncio.gather(*waiting):
            assert vectors.shape == (8, 384)
        assert (await embedder.embed(CORPUS[:8])).shape == (8, 384)


async def test_what_waits_too_long_in_the_queue_is_refused_by_the_server(
    gated: Gated, start_triton: StartTriton, artefact: Artefact, names: dict[str, str]
) -> None:
    repository = gated(ServingPolicy(instances=1, bulk_queue_ms=200))
    server = start_triton(repository, list(names.values()))
    connection = TritonConnection(server.address("grpc"))
    rows = [[101, 2300, 102]] * 300

    async def ask() -> np.ndarray:
        return await connection.embed(names["bulk"], 1, rows, dim=384, priority=2, deadline_s=20.0)

    with closed(repository, names["bulk"]):
        calls = [asyncio.create_task(ask()) for _ in range(2)]
        await until(lambda: server.pending(names["bulk"]) == 1)
        await asyncio.wait(calls, timeout=0.5)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Expired", "ndarray"]
    await connection.close()


@pytest.mark.parametrize("priority", [1, 2])
async def test_an_interactive_call_overtakes_a_full_bulk_queue(
    gated: Gated, start_triton: StartTriton, artefact: Artefact, names: dict[str, str], priority: int
) -> None:
    """On a server with one lane alone; at the bulk lane's priority, the negative control, it comes last."""
    repository = gated(ServingPolicy(instances=1))
    server = start_triton(repository, [names["bulk"]])
    connection = TritonConnection(server.address("grpc"))
    rows, ended = [[101] + [2300] * 198 + [102]] * 5, []

    async def ask(name: str, rows: list[list[int]], priority: int) -> None:
        await connection.embed(names["bulk"], 1, rows, dim=384, priority=priority, deadline_s=20.0)
        ended.append(name)

    with closed(repository, names["bulk"]):
        work = [asyncio.create_task(ask("bulk", rows, 2)) for _ in range(10)]
        await until(lambda: server.pending(names["bulk"]) >= 9)
        work.append(asyncio.create_task(ask("question", rows, priority)))
        await until(lambda: server.pending(names["bulk"]) >= 10)
    await asyncio.gather(*work)
    assert ended.index("question") <= 2 if priority == 1 else ended.index("question") == 10
    await connection.close()


async def test_a_server_with_one_lane_answers_questions_first(
    gated: Gated, start_triton: StartTriton, artefact: Artefact, names: dict[str, str]
) -> None:
    repository = gated(ServingPolicy(instances=1))
    server = start_triton(repository, [names["bulk"]])
    async with opened(artefact, server.address("grpc"), bulk_in_flight=20) as embedder:
        with closed(repository, names["bulk"]):
            corpus = asyncio.create_task(embedder.embed(CORPUS * 4))
            await until(lambda: server.pending(names["bulk"]) >= 10)
            question = asyncio.create_task(embedder.embed(QUESTION))
            await until(lambda: server.pending(names["bulk"]) >= 11)
        await question
        assert not corpus.done()
        await corpus


async def test_cancelled_calls_leave_the_servers_queue(
    gated: Gated, start_triton: StartTriton, artefact: Artefact, names: dict[str, str]
) -> None:
    repository = gated(ServingPolicy(instances=1))
    server = start_triton(repository, list(names.values()))
    async with opened(artefact, server.address("grpc"), bulk_in_flight=20) as embedder:
        with InferenceServerClient(server.address("grpc")) as client:
            before = _texts_run(client, names["bulk"])
            with closed(repository, names["bulk"]):
                corpus = asyncio.create_task(embedder.embed(CORPUS * 4))
                await until(lambda: server.pending(names["bulk"]) >= 10)
                corpus.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(corpus, timeout=2)
                for _ in range(20):  # by then the server has read what was sent before; of that it shows nothing
                    assert await embedder._connection.batch_tokens(names["bulk"], deadline_s=5.0)
            await embedder.embed(CORPUS[:8])
            assert _texts_run(client, names["bulk"]) - before <= 5  # of 20


def _texts_run(client: InferenceServerClient, model: str) -> int:
    statistics = client.get_inference_statistics(model, as_json=True)["model_stats"][0]
    return int(statistics.get("execution_count", 0))
