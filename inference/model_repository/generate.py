"""Write an artefact into a model repository, as a version beside the others.

An artefact becomes two models of Triton, one for each lane, each with instances of its own: a question never waits for
the batch of documents that an instance is busy with, which no priority could interrupt. Within a model there are two
priorities all the same, for servers that have memory for one lane alone.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final, Literal

import msgspec

from inference.minilm.artefact import MIN_COSINE, PROBES, Artefact, open_tokenizer
from millrace.errors import ConfigurationError

Lane = Literal["interactive", "bulk"]
LANES: Final[tuple[Lane, ...]] = ("interactive", "bulk")
PRIORITIES: Final = {"interactive": 1, "bulk": 2}
_SOURCES: Final = ("model.py", "batching.py")


class ServingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How the server runs a model.

    Attributes
    ----------
    batch_tokens : int
        Tokens that run together at most, those of several requests included; also the limit of one request.
    instances : int
        Processes of each lane. With one alone, Triton 2.51 leaves a request that comes just when the process has
        finished another one lying for up to half a second, wherever it limits its queue.
    threads : int
        Threads of a process.
    bulk_niceness : int
        How far processes of the bulk lane stand back behind others on the processor, 0 to 19.
    interactive_queue, bulk_queue : int
        Requests that may wait in a model; one more is refused at once.
    interactive_queue_ms, bulk_queue_ms : int
        How long a request may wait for its turn before it is refused, in milliseconds.
    providers : tuple of str
        Execution providers of ONNX Runtime, in the order of preference; without the first one a model does not start.
    """

    batch_tokens: int = 1_024
    instances: int = 2
    threads: int = 1
    bulk_niceness: int = 10
    interactive_queue: int = 64
    bulk_queue: int = 64
    interactive_queue_ms: int = 2_000
    bulk_queue_ms: int = 30_000
    providers: tuple[str, ...] = ("CPUExecutionProvider",)


def lane_model(artefact: Artefact, lane: Lane) -> str:
    """Name under which the server knows a lane of a model."""
    name = artefact.model.partition("@")[0]
    return name if lane == "bulk" else f"{name}-{lane}"


def write_model(
    repository: Path,
    artefact: Artefact,
    *,
    version: int = 1,
    environment: Path | None = None,
    policy: ServingPolicy | None = None,
) -> tuple[str, ...]:
    """Write a version of a model, for both lanes; what is there already and is the same is left alone.

    Parameters
    ----------
    repository : Path
        Triton's model repository; created if missing.
    artefact : Artefact
        The converted model.
    version : int
        Its number; other versions stay and are served beside it.
    environment : Path, optional
        Virtual environment of the Python backend, with numpy below 2 and ONNX Runtime; by default the server's Python.
    policy : ServingPolicy, optional
        How it is run; counts for all versions of the model.

    Returns
    -------
    tuple of str
        Names of the models, to be loaded.

    Raises
    ------
    ConfigurationError
        The version is taken by another artefact.
    """
    policy = policy or ServingPolicy()
    if version < 1:
        raise ConfigurationError(f"version {version} of {artefact.model}: Triton numbers versions from 1 on")
    files = _files(artefact)
    for lane in LANES:
        folder = repository / lane_model(artefact, lane)
        folder.mkdir(parents=True, exist_ok=True)
        _write_version(folder / str(version), files, artefact.model)
        _replace(folder / "config.pbtxt", _config(artefact, lane, environment, policy).encode())
    return tuple(lane_model(artefact, lane) for lane in LANES)


def _files(artefact: Artefact) -> dict[str, bytes]:
    """Content of a version's folder, by name."""
    tokenizer = open_tokenizer(artefact.tokenizer, truncate=True)
    proof = {
        "model": artefact.model,
        "tokens": [encoding.ids for encoding in tokenizer.encode_batch(list(PROBES))],
        "embedding": artefact.expected.tolist(),
        "min_cosine": MIN_COSINE,
    }
    sources = {name: Path(__file__).with_name(name).read_bytes() for name in _SOURCES}
    return sources | {"model.onnx": artefact.graph.read_bytes(), "proof.json": json.dumps(proof).encode()}


def _write_version(target: Path, files: dict[str, bytes], model: str) -> None:
    """Make the folder appear complete or not at all.

    Raises
    ------
    ConfigurationError
        Another model has this number.
    """
    if target.exists():
        found = json.loads((target / "proof.json").read_bytes())["model"]
        if found != model:
            raise ConfigurationError(f"{target} holds {found}, not {model}; write it as another version")
        for name, data in files.items():
            _replace(target / name, data)
        return
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent.parent))
    try:
        for name, data in files.items():
            (staging / name).write_bytes(data)
        staging.chmod(0o755)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(path: Path, data: bytes) -> None:
    """Write a file in one step; an equal one is left alone, since the server loads again what was touched."""
    if path.exists() and _sha256(path.read_bytes()) == _sha256(data):
        return
    staging = path.with_name(f".{path.name}-{os.getpid()}")
    staging.write_bytes(data)
    staging.replace(path)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _config(artefact: Artefact, lane: Lane, environment: Path | None, policy: ServingPolicy) -> str:
    """Triton's ``config.pbtxt``: a token is the unit of a batch, so that batches are cut by tokens there as well."""
    parameters = {
        "batch_tokens": str(policy.batch_tokens),
        "threads": str(policy.threads),
        "niceness": str(policy.bulk_niceness if lane == "bulk" else 0),
        "providers": json.dumps(policy.providers),
    }
    if environment is not None:
        parameters["EXECUTION_ENV_PATH"] = str(environment.absolute())
    given = "\n".join(
        f"parameters {{ key: {_quoted(name)} value {{ string_value: {_quoted(value)} }} }}"
        for name, value in parameters.items()
    )
    queues = {
        PRIORITIES["interactive"]: (policy.interactive_queue, policy.interactive_queue_ms),
        PRIORITIES["bulk"]: (policy.bulk_queue, policy.bulk_queue_ms),
    }
    queue_policies = "\n".join(
        f"""\
  priority_queue_policy {{
    key: {priority}
    value {{
      timeout_action: REJECT
      default_timeout_microseconds: {wait_ms * 1_000}
      allow_timeout_override: true
      max_queue_size: {n_requests}
    }}
  }}"""
        for priority, (n_requests, wait_ms) in queues.items()
    )
    return f"""\
name: {_quoted(lane_model(artefact, lane))}
backend: "python"
max_batch_size: {policy.batch_tokens}
input {{ name: "tokens" data_type: TYPE_INT32 dims: [ 1 ] }}
input {{ name: "begins" data_type: TYPE_BOOL dims: [ 1 ] }}
output {{ name: "embedding" data_type: TYPE_FP32 dims: [ {artefact.expected.shape[1]} ] }}
instance_group {{ kind: KIND_CPU count: {policy.instances} }}
version_policy {{ all {{ }} }}
response_cache {{ enable: false }}
dynamic_batching {{
  priority_levels: {len(queues)}
  default_priority_level: {PRIORITIES[lane]}
{queue_policies}
}}
{given}
"""


def _quoted(text: str) -> str:
    """A string as protobuf's text format writes it."""
    return json.dumps(text)
