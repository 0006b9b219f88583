"""What happens to a model server, really done to one: nothing is lost, nobody hangs, and it is used again by itself."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient

from inference.minilm.artefact import PROBES, Artefact
from inference.model_repository import ServingPolicy, lane_model, write_model
from inference.triton import TritonConnection, TritonEmbedder, TritonOptions
from inference.triton.connection import Busy
from infra.servers.triton import TritonParts, TritonServer
from millrace.errors import ConfigurationError, Unavailable
from tests.conditions import until
from tests.inference.test_embedder_contract import cosines, texts_of_many_lengths
from tests.tcp_proxy import TcpProxy
from tests.tritons import StartTriton, closed, model_processes

pytestmark = pytest.mark.faults

QUESTION = ["where is the mill?"]
CORPUS = ["the water mill grinds grain " * 20] * 40
Gated = Callable[..., Path]


@pytest.fixture
def names(artefact: Artefact) -> dict[str, str]:
    return {lane: lane_model(artefact, lane) for lane in ("interactive", "bulk")}


@pytest.fixture
def server(tmp_path: Path, start_triton: StartTriton, triton_parts: TritonParts, artefact: Artefact) -> TritonServer:
    models = write_model(tmp_path / "repository", artefact, environment=triton_parts.environment)
    return start_triton(tmp_path / "repository", models)


@asynccontextmanager
async def opened(artefact: Artefact, address: str, **options: Any) -> AsyncIterator[TritonEmbedder]:
    embedder = await TritonEmbedder.open(artefact, address, options=TritonOptions(**options))
    try:
        yield embedder
    finally:
        await embedder.close()


async def works_again(embedder: TritonEmbedder, timeout_s: float = 20.0) -> np.ndarray:
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                return await embedder.embed(PROBES)
            except Unavailable:
                await asyncio.sleep(0.02)


def kill_model(server: TritonServer, name: str, signal_number: int = signal.SIGKILL) -> None:
    for process in model_processes(server, name):
        os.kill(process.pid, signal_number)


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


async def test_without_loading_it_again_a_dead_model_stays_dead_while_the_server_calls_it_ready(
    server: TritonServer, artefact: Artefact, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: neither the server's word nor loading it without a change would do."""

    async def load_plainly(self: TritonConnection, model: str, *, deadline_s: float) -> None:
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


async def test_frozen_model_processes_are_replaced(
    server: TritonServer, artefact: Artefact, names: dict[str, str]
) -> None:
    async with opened(artefact, server.address("grpc"), silence_s=0.5, proof_s=0.5) as embedder:
        kill_model(server, names["interactive"], signal.SIGSTOP)
        assert cosines(await works_again(embedder), artefact.expected).min() >= 0.98


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


async def test_a_hanging_model_is_given_up_and_the_other_lane_goes_on(
    gated: Gated, start_triton: StartTriton, artefact: Artefact, names: dict[str, str]
) -> None:
    repository = gated()
    server = start_triton(repository, list(names.values()))
    async with opened(artefact, server.address("grpc"), silence_s=0.3, proof_s=1.5) as embedder:
        with closed(repository, names["bulk"]):
            began = time.monotonic()
            corpus = asyncio.create_task(embedder.embed(CORPUS))
            assert (await embedder.embed(QUESTION)).shape == (1, 384)
            with pytest.raises(Unavailable, match="no answer and no proof"):
                await corpus
            assert time.monotonic() - began < 5
            began = time.monotonic()
            with pytest.raises(Unavailable, match="is not asked for another"):
                await embedder.embed(CORPUS)
            assert time.monotonic() - began < 0.5
        async with asyncio.timeout(20):
            while True:
                try:
                    vectors = await embedder.embed(CORPUS)
                    break
                except Unavailable:
                    await asyncio.sleep(0.02)
        assert vectors.shape == (len(CORPUS), 384)


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
    assert sorted(type(answer).__name__ for answer in answers) == ["Busy", "ndarray"]
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
            await embedder.embed(CORPUS[:8])
            assert _texts_run(client, names["bulk"]) - before <= 2


def _texts_run(client: InferenceServerClient, model: str) -> int:
    statistics = client.get_inference_statistics(model, as_json=True)["model_stats"][0]
    return int(statistics.get("execution_count", 0))


async def test_a_black_hole_opens_the_breaker_and_is_left_again(triton: TritonServer, artefact: Artefact) -> None:
    with TcpProxy(triton.ports["grpc"]) as proxy:
        async with opened(artefact, f"127.0.0.1:{proxy.port}") as embedder:
            proxy.black_hole()
            began = time.monotonic()
            corpus = asyncio.create_task(embedder.embed(CORPUS))
            for call in (embedder.embed(QUESTION), corpus):
                with pytest.raises(Unavailable, match="no answer and no proof"):
                    await call
            assert time.monotonic() - began <= 5
            began = time.monotonic()
            for texts in (QUESTION, CORPUS):
                with pytest.raises(Unavailable, match="is not asked for another"):
                    await embedder.embed(texts)
            assert time.monotonic() - began < 0.5
            proxy.forward()
            assert cosines(await works_again(embedder), artefact.expected).min() >= 0.98


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


@pytest.fixture
def environment_with_numpy_2(tmp_path: Path) -> Path:
    """A virtual environment that sees the packages of these tests."""
    packages = Path(np.__file__).parents[1]
    folder = tmp_path / "environment"
    home = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python3").symlink_to(home)
    (folder / "pyvenv.cfg").write_text(f"home = {home.parent}\n")
    (folder / "bin" / "activate").write_text(f"export PATH={folder}/bin:$PATH VIRTUAL_ENV={folder}\n")
    inner = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    inner.mkdir(parents=True)
    (inner / "tests.pth").write_text(f"{packages}\n")
    return folder


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_model_that_computes_wrong_vectors_is_not_used(
    tmp_path: Path,
    start_triton: StartTriton,
    artefact: Artefact,
    environment_with_numpy_2: Path,
    names: dict[str, str],
    guarded: bool,
) -> None:
    """With numpy 2, Triton's tensors are garbled. The model itself refuses; if it did not, the client would."""
    repository = tmp_path / "repository"
    models = write_model(repository, artefact, environment=environment_with_numpy_2)
    if guarded:
        with pytest.raises(Unavailable):
            start_triton(repository, models)
        log = (tmp_path / "triton-0" / "server.log").read_text()
        assert "numpy 2" in log
        return
    for model in models:
        source = repository / model / "1" / "model.py"
        source.write_text(source.read_text().replace(">= 2:", ">= 3:"))
    server = start_triton(repository, models)
    with pytest.raises((ConfigurationError, Unavailable), match=r"wrong vectors|usable vectors"):
        await TritonEmbedder.open(artefact, server.address("grpc"))


@pytest.mark.parametrize(
    "wrong", ["[]", "[triton.Tensor('embedding', vectors[span][:1])]", "[triton.Tensor('other', vectors[span])]"]
)
async def test_an_answer_without_its_vectors_is_a_failure(
    tmp_path: Path,
    start_triton: StartTriton,
    triton_parts: TritonParts,
    artefact: Artefact,
    names: dict[str, str],
    wrong: str,
) -> None:
    repository = tmp_path / "repository"
    models = write_model(repository, artefact, environment=triton_parts.environment)
    for model in models:
        source = repository / model / "1" / "model.py"
        source.write_text(
            source.read_text()
            + f"""

def _answer(vectors, span):
    return triton.InferenceResponse({wrong} if Path(__file__).with_name("wrong").exists()
                                    else [triton.Tensor("embedding", vectors[span])])


_response = _answer
"""
        )
    server = start_triton(repository, models)
    async with opened(artefact, server.address("grpc")) as embedder:
        for model in models:
            (repository / model / "1" / "wrong").touch()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await embedder.embed(["one", "two"])
        for model in models:
            (repository / model / "1" / "wrong").unlink()
        assert cosines(await works_again(embedder), artefact.expected).min() >= 0.98


async def test_versions_stand_side_by_side_and_a_broken_one_harms_no_other(
    server: TritonServer, tmp_path: Path, triton_parts: TritonParts, artefact: Artefact, names: dict[str, str]
) -> None:
    repository = tmp_path / "repository"
    async with opened(artefact, server.address("grpc")) as first:
        loading = True

        async def ask_on() -> int:
            n = 0
            while loading:
                assert cosines(await first.embed(PROBES), artefact.expected).min() >= 0.98
                n += 1
            return n

        asking = asyncio.create_task(ask_on())
        write_model(repository, artefact, version=2, environment=triton_parts.environment)
        with InferenceServerClient(server.address("grpc")) as client:
            await asyncio.to_thread(client.load_model, names["interactive"])
            await asyncio.to_thread(client.load_model, names["bulk"])
            second = await TritonEmbedder.open(artefact, server.address("grpc"), version=2)
            write_model(repository, artefact, version=3, environment=triton_parts.environment)
            for name in names.values():
                (repository / name / "3" / "model.onnx").write_bytes(b"broken")
                with pytest.raises(Exception, match="load failed"):
                    await asyncio.to_thread(client.load_model, name)
            with pytest.raises(Unavailable, match="version 3 is not at ready state"):
                await TritonEmbedder.open(artefact, server.address("grpc"), version=3)
        loading = False
        assert await asking > 10
        assert cosines(await second.embed(PROBES), artefact.expected).min() >= 0.98
        assert (await first.embed(CORPUS)).shape == (len(CORPUS), 384)
        await second.close()


async def test_a_server_with_a_key_refuses_who_does_not_have_it(
    tmp_path: Path, start_triton: StartTriton, triton_parts: TritonParts, artefact: Artefact
) -> None:
    models = write_model(tmp_path / "repository", artefact, environment=triton_parts.environment)
    server = start_triton(tmp_path / "repository", models, key="let-me-in")
    for key in ("", "another"):
        with pytest.raises(ConfigurationError, match=r"restricted.*triton\.key"):
            await TritonEmbedder.open(artefact, server.address("grpc"), key=key)
    embedder = await TritonEmbedder.open(artefact, server.address("grpc"), key="let-me-in")
    kill_model(server, models[0])
    assert cosines(await embedder.embed(PROBES), artefact.expected).min() >= 0.98
    await embedder.close()
    with InferenceServerClient(server.address("grpc")) as client:
        for call in (
            lambda: client.load_model(models[0]),
            client.get_model_repository_index,
            client.get_system_shared_memory_status,
            client.get_log_settings,
            lambda: client.get_inference_statistics(models[0]),
        ):
            with pytest.raises(Exception, match="restricted"):
                call()


async def test_without_a_server_or_its_model_opening_says_what_to_do(triton: TritonServer, artefact: Artefact) -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await TritonEmbedder.open(artefact, "127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="write version 9 into the model repository"):
        await TritonEmbedder.open(artefact, triton.address("grpc"), version=9)
