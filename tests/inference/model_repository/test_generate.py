"""A model repository is written completely or not at all, and what did not change is not touched."""

import json
from pathlib import Path

import msgspec
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from inference.minilm.artefact import PROBES, Artefact
from inference.model_repository import ServingPolicy, write_model
from millrace.errors import ConfigurationError

BULK, INTERACTIVE = "all-minilm-l6-v2", "all-minilm-l6-v2-interactive"


def config(repository: Path, model: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse((repository / model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_both_lanes_are_written_with_all_that_the_backend_needs(tmp_path: Path, artefact: Artefact) -> None:
    assert set(write_model(tmp_path, artefact)) == {BULK, INTERACTIVE}
    for model in (BULK, INTERACTIVE):
        names = {path.name for path in (tmp_path / model / "1").iterdir()}
        assert names == {"model.py", "batching.py", "model.onnx", "proof.json"}
        assert (tmp_path / model / "1" / "model.onnx").read_bytes() == artefact.graph.read_bytes()
        proof = json.loads((tmp_path / model / "1" / "proof.json").read_text())
        assert (proof["model"], len(proof["tokens"]), len(proof["embedding"])) == (artefact.model, 3, len(PROBES))


def test_the_configuration_says_what_the_policy_says(tmp_path: Path, artefact: Artefact) -> None:
    policy = ServingPolicy(
        batch_tokens=512,
        instances=3,
        threads=4,
        interactive_queue=5,
        bulk_queue=7,
        interactive_queue_ms=100,
        bulk_queue_ms=9_000,
    )
    environment = tmp_path / 'an "environment"'
    write_model(tmp_path, artefact, environment=environment, policy=policy)
    for model, priority, niceness in ((BULK, 2, "10"), (INTERACTIVE, 1, "0")):
        found = config(tmp_path, model)
        assert (found.name, found.backend, found.max_batch_size) == (model, "python", 512)
        assert found.instance_group[0].count == 3
        assert found.version_policy.HasField("all")
        assert not found.response_cache.enable
        batching = found.dynamic_batching
        assert (batching.priority_levels, batching.default_priority_level) == (2, priority)
        queues = dict(batching.priority_queue_policy)
        assert {level: queue.max_queue_size for level, queue in queues.items()} == {1: 5, 2: 7}
        assert {level: queue.default_timeout_microseconds for level, queue in queues.items()} == {
            1: 100_000,
            2: 9_000_000,
        }
        assert all(queue.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT for queue in queues.values())
        parameters = {name: each.string_value for name, each in found.parameters.items()}
        assert parameters == {
            "EXECUTION_ENV_PATH": str(environment),
            "batch_tokens": "512",
            "threads": "4",
            "niceness": niceness,
            "providers": '["CPUExecutionProvider"]',
        }


def test_writing_the_same_again_touches_nothing(tmp_path: Path, artefact: Artefact) -> None:
    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    write_model(tmp_path, artefact)
    before = times()
    write_model(tmp_path, artefact)
    assert times() == before
    (tmp_path / BULK / "1" / "model.py").write_text("damaged")
    write_model(tmp_path, artefact)
    assert "damaged" not in (tmp_path / BULK / "1" / "model.py").read_text()


def test_versions_stand_side_by_side_and_none_is_overwritten_by_another_artefact(
    tmp_path: Path, artefact: Artefact
) -> None:
    other = msgspec.structs.replace(artefact, model="all-minilm-l6-v2@other")
    write_model(tmp_path, artefact)
    write_model(tmp_path, other, version=2)
    assert {path.name for path in (tmp_path / BULK).iterdir()} == {"1", "2", "config.pbtxt"}
    with pytest.raises(ConfigurationError, match=r"holds all-minilm-l6-v2@int8.*write it as another version"):
        write_model(tmp_path, other, version=1)
    with pytest.raises(ConfigurationError, match="numbers versions from 1 on"):
        write_model(tmp_path, artefact, version=0)


def test_an_interrupted_write_leaves_no_version(tmp_path: Path, artefact: Artefact) -> None:
    broken = msgspec.structs.replace(artefact, graph=tmp_path / "missing.onnx")
    with pytest.raises(FileNotFoundError):
        write_model(tmp_path / "repository", broken)
    assert not list((tmp_path / "repository").glob("*/1"))
