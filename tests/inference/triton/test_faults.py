"""What happens to a model server, really done to one: nothing is lost, nobody hangs, and it is used again by itself."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tritonclient.grpc import InferenceServerClient

from inference.minilm.artefact import PROBES, Artefact
from inference.triton import TritonConnection
from infra.servers.triton import TritonServer
from millrace.errors import Unavailable
from tests.conditions import until
from tests.faults.report import FaultRow
from tests.inference.test_embedder_contract import cosines, texts_of_many_lengths
from tests.inference.triton.serving import CORPUS, QUESTION, kill_model, opened, works_again
from tests.tcp_proxy import TcpProxy
from tests.tritons import StartTriton, closed

pytestmark = pytest.mark.faults
Gated = Callable[..., Path]
Note = Callable[[FaultRow], None]


async def test_killed_model_processes_are_replaced_and_nothing_is_lost(
    server: TritonServer, artefact: Artefact, names: dict[str, str]
) -> None:
    texts = texts_of_many_lengths(200)
    async with opened(artefact, server.address("grpc")) as embedder:
        expected = await embedder.embed(texts)
        corpus = asyncio.create_task(embedder.embed(texts))
        for name in names.values():
            kill_model(server, name)
        questions = await asyncio.gather(*(embedder.embed(PROBES) for _ in range(8)))
        assert cosines(await corpus, expected).min() > 0.9999
        for vectors in questions:
            assert cosines(vectors, artefact.expected).min() >= 0.98


async def test_what_a_model_process_was_computing_when_it_was_killed_is_computed_again(
    gated: Gated, start_triton: StartTriton, artefact: Artefact, names: dict[str, str]
) -> None:
    repository = gated()
    server = start_triton(repository, list(names.values()))
    async with opened(artefact, server.address("grpc"), bulk_in_flight=20) as embedder:
        expected = await embedder.embed(CORPUS)
        with closed(repository, names["bulk"]):
            corpus = asyncio.create_task(embedder.embed(CORPUS))
            await until(lambda: server.pending(names["bulk"]) >= 2)  # both processes have a batch, others wait
            kill_model(server, names["bulk"])
        assert cosines(await corpus, expected).min() > 0.9999


async def test_without_loading_it_again_a_dead_model_stays_dead_while_the_server_calls_it_ready(
    server: TritonServer, artefact: Artefact, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: neither the server's word nor loading it without a change would do."""

    async def load_plainly(self: TritonConnection, model: str, *, ask_s: float, deadline_s: float) -> None:
        await self._client.load_model(model, client_timeout=deadline_s)

    async with opened(artefact, server.address("grpc")) as embedder:
        monkeypatch.setattr(TritonConnection, "load_again", load_plainly)
        with InferenceServerClient(server.address("grpc")) as client:
            client.load_model(names["interactive"])  # from now on the files are what the server knows
            kill_model(server, names["interactive"])
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await embedder.embed(QUESTION)
            assert client.is_model_ready(names["interactive"])


async def test_a_model_that_died_before_the_first_call_is_loaded_again(
    server: TritonServer, artefact: Artefact, names: dict[str, str]
) -> None:
    for name in names.values():
        kill_model(server, name)
    async with opened(artefact, server.address("grpc")) as embedder:
        assert cosines(await embedder.embed(PROBES), artefact.expected).min() >= 0.98


@pytest.mark.timeout(120)
async def test_frozen_model_processes_are_replaced(
    server: TritonServer, artefact: Artefact, names: dict[str, str]
) -> None:
    async with opened(artefact, server.address("grpc"), silence_s=0.5, proof_s=0.5) as embedder:
        kill_model(server, names["interactive"], signal.SIGSTOP)
        assert cosines(await works_again(embedder, timeout_s=60), artefact.expected).min() >= 0.98


async def test_a_killed_server_is_refused_at_once_and_used_again_after_its_restart(
    server: TritonServer, artefact: Artefact
) -> None:
    async with opened(artefact, server.address("grpc")) as embedder:
        corpus = asyncio.create_task(embedder.embed(CORPUS * 10))
        await embedder.embed(QUESTION)
        await asyncio.to_thread(server.kill)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(corpus, timeout=5)
        for _ in range(20):
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await embedder.embed(QUESTION)
            assert time.monotonic() - began < 1.0
        await asyncio.to_thread(server.start)
        assert cosines(await works_again(embedder), artefact.expected).min() >= 0.98


@pytest.mark.timeout(120)
async def test_a_hanging_model_is_given_up_and_the_other_lane_goes_on(
    gated: Gated, start_triton: StartTriton, artefact: Artefact, names: dict[str, str], fault_row: Note
) -> None:
    """B4."""
    repository = gated()
    server = start_triton(repository, list(names.values()))
    async with opened(artefact, server.address("grpc"), silence_s=0.5, proof_s=2.0) as embedder:
        with closed(repository, names["bulk"]):
            began = time.monotonic()
            corpus = asyncio.create_task(embedder.embed(CORPUS))
            assert (await embedder.embed(QUESTION)).shape == (1, 384)
            with pytest.raises(Unavailable, match="no answer and no proof"):
                await corpus
            given_up_s = time.monotonic() - began
            assert given_up_s < 5
            began = time.monotonic()
            with pytest.raises(Unavailable, match="is not asked for another"):
                await embedder.embed(CORPUS)
            assert time.monotonic() - began < 0.5
        async with asyncio.timeout(40):
            while True:
                try:
                    vectors = await embedder.embed(CORPUS[:4])  # enough for the bulk lane
                    break
                except Unavailable:
                    await asyncio.sleep(0.02)
        assert vectors.shape == (4, 384)
    note = f"given up after {given_up_s:.1f} s; questions were answered meanwhile"
    fault_row(FaultRow("B4 Triton, a lane hangs", "native", note=note))


async def test_a_black_hole_opens_the_breaker_and_is_left_again(
    triton: TritonServer, artefact: Artefact, fault_row: Note
) -> None:
    """B4."""
    with TcpProxy(triton.ports["grpc"]) as proxy:
        async with opened(artefact, f"127.0.0.1:{proxy.port}") as embedder:
            proxy.black_hole()
            began = time.monotonic()
            corpus = asyncio.create_task(embedder.embed(CORPUS))
            for call in (embedder.embed(QUESTION), corpus):
                with pytest.raises(Unavailable, match="no answer and no proof"):
                    await call
            opened_s = time.monotonic() - began
            assert opened_s <= 5
            began = time.monotonic()
            for texts in (QUESTION, CORPUS):
                with pytest.raises(Unavailable, match="is not asked for another"):
                    await embedder.embed(texts)
            assert time.monotonic() - began < 0.5
            proxy.forward()
            began = time.monotonic()
            assert cosines(await works_again(embedder), artefact.expected).min() >= 0.98
            progress_s, note = time.monotonic() - began, f"the breaker opened after {opened_s:.1f} s"
            fault_row(FaultRow("B4 Triton black-holed, its client", "native", progress_s=progress_s, note=note))


async def test_without_proofs_a_black_hole_holds_a_call_for_its_whole_deadline(
    triton: TritonServer, artefact: Artefact
) -> None:
    """The negative control of the test above."""
    with TcpProxy(triton.ports["grpc"]) as proxy:
        async with opened(artefact, f"127.0.0.1:{proxy.port}", silence_s=60.0) as embedder:
            proxy.black_hole()
            call = asyncio.create_task(embedder.embed(CORPUS))
            await asyncio.wait((call,), timeout=5)
            assert not call.done()
            call.cancel()
            await asyncio.wait((call,))


async def test_a_server_ten_times_as_slow_still_answers(triton: TritonServer, artefact: Artefact) -> None:
    with TcpProxy(triton.ports["grpc"]) as proxy:
        async with opened(artefact, f"127.0.0.1:{proxy.port}") as embedder:
            proxy.delay(0.05)
            for _ in range(5):
                assert cosines(await embedder.embed(PROBES), artefact.expected).min() >= 0.98
