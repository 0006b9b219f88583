"""An embedding model inside Triton's Python backend; copied into each version's folder as ``model.py``.

It runs in the backend's own Python, where nothing of Millrace is installed: numpy below 2, ONNX Runtime, and the module
`batching` beside it.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import triton_python_backend_utils as triton

from .batching import cut_batches, pad, unpack  # noqa: TID252 - its package is the version's folder


class TritonPythonModel:
    """What Triton calls; a model's folder holds one for each version."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the graph, and refuse to serve if it would compute other vectors than it should."""
        if int(np.__version__.partition(".")[0]) >= 2:
            raise triton.TritonModelException(
                f"the backend's Python has numpy {np.__version__}, with which Triton's tensors arrive garbled; below 2 "
                "is needed: see EXECUTION_ENV_PATH in config.pbtxt"
            )
        folder = Path(args["model_repository"]) / args["model_version"]
        parameters = {
            name: each["string_value"] for name, each in json.loads(args["model_config"])["parameters"].items()
        }
        os.nice(int(parameters["niceness"]))
        self._batch_tokens = int(parameters["batch_tokens"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(parameters["threads"])
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = json.loads(parameters["providers"])
        self._session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=providers)
        if providers[0] not in (found := self._session.get_providers()):  # it takes another one without a word
            raise triton.TritonModelException(
                f"ONNX Runtime {ort.__version__} cannot use {providers[0]} here, only {', '.join(found)}; install a "
                "build with it, and what it needs, or name another one first in ServingPolicy.providers"
            )
        self._prove(json.loads((folder / "proof.json").read_text()))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Embed the texts of all requests; one that cannot be read fails alone."""
        rows: list[npt.NDArray[np.int32]] = []
        spans: list[slice | Exception] = []
        for request in requests:
            try:
                texts = unpack(*(_input(request, name) for name in ("tokens", "begins")))
                spans.append(slice(len(rows), len(rows) + len(texts)))
                rows += texts
            except ValueError as error:
                spans.append(error)
        vectors = self._embed(rows)
        return [_response(vectors, span) for span in spans]

    def _embed(self, rows: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.float32]:
        vectors = np.zeros((len(rows), self._session.get_outputs()[0].shape[1]), dtype=np.float32)
        for batch in cut_batches([len(row) for row in rows], self._batch_tokens):
            ids, mask = pad([rows[i] for i in batch])
            vectors[batch] = self._session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]
        return vectors

    def _prove(self, proof: dict[str, Any]) -> None:
        found = self._embed([np.array(row, dtype=np.int32) for row in proof["tokens"]])
        cosines = np.sum(found * np.array(proof["embedding"], dtype=np.float32), axis=1)
        if not cosines.min() >= proof["min_cosine"]:  # not (a < b): a NaN must fail as well
            raise triton.TritonModelException(
                f"embeddings are wrong: cosine {cosines.min():.4f} to the known ones, at least {proof['min_cosine']} "
                f"is needed; onnxruntime is {ort.__version__}, the graph {proof['model']}"
            )


def _input(request: Any, name: str) -> Any:
    return triton.get_input_tensor_by_name(request, name).as_numpy()


def _response(vectors: npt.NDArray[np.float32], span: slice | Exception) -> Any:
    if isinstance(span, Exception):
        return triton.InferenceResponse(error=triton.TritonError(str(span), triton.TritonError.INVALID_ARG))
    return triton.InferenceResponse([triton.Tensor("embedding", vectors[span])])
