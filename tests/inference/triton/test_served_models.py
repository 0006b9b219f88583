"""What a server must have and compute to be used at all, and by whom."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient

from inference.minilm.artefact import PROBES, Artefact
from inference.model_repository import ServingPolicy, write_model
from inference.triton import TritonEmbedder
from infra.servers.triton import TritonParts, TritonServer
from millrace.errors import ConfigurationError, Unavailable
from tests.faults.report import FaultRow
from tests.inference.test_embedder_contract import cosines
from tests.inference.triton.serving import CORPUS, kill_model, opened, works_again
from tests.tritons import StartTriton


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


def test_a_model_does_not_start_on_another_provider_than_the_one_that_was_asked_for(
    tmp_path: Path, start_triton: StartTriton, triton_parts: TritonParts, artefact: Artefact
) -> None:
    """ONNX Runtime for processors alone knows the other one's name, and would go on without it."""
    policy = ServingPolicy(providers=("CUDAExecutionProvider", "CPUExecutionProvider"))
    repository = tmp_path / "repository"
    models = write_model(repository, artefact, environment=triton_parts.environment, policy=policy)
    with pytest.raises(Unavailable):
        start_triton(repository, models)
    assert "cannot use CUDAExecutionProvider here, only CPU" in (tmp_path / "triton-0" / "server.log").read_text()


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
    tmp_path: Path,
    start_triton: StartTriton,
    triton_parts: TritonParts,
    artefact: Artefact,
    fault_row: Callable[[FaultRow], None],
) -> None:
    """E11; that the key opens it is its control."""
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
    fault_row(FaultRow("E11 Triton without its key", "native", note="refused, where the setting triton.key names one"))


async def test_without_a_server_or_its_model_opening_says_what_to_do(triton: TritonServer, artefact: Artefact) -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await TritonEmbedder.open(artefact, "127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="write version 9 into the model repository"):
        await TritonEmbedder.open(artefact, triton.address("grpc"), version=9)
