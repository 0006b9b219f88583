"""Eight-bit matrix products for the encoder graph, with the ranges of the activations measured beforehand.

Ranges taken from the batch at hand (dynamic quantization) make a text's vector depend on its batch-mates: the same text
came out with a cosine of 0.988 to itself. Fixed ranges do not, and are as fast and as good (docs/decisions.md).
Activations have a few channels with values far beyond the rest; part of their size is moved into the weights first, as
in SmoothQuant (Xiao et al., 2023, arXiv:2211.10438, equation 4).
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper

from inference.minilm.graph import Graph, matmul

SMOOTHING = 0.65
MARGIN = 1.15
# Seven bits: with eight, sums of two products overflow 16 bits on processors without VNNI, silently.
WEIGHT_LEVELS = 63


class Activation(msgspec.Struct, frozen=True):
    """What was seen at the input of one matrix product.

    Attributes
    ----------
    smoothing : numpy.ndarray
        Shape (in,), float32: each channel is divided by it before it is rounded.
    low, high : float
        Smallest and largest value after that division, 0 included.
    """

    smoothing: np.ndarray
    low: float
    high: float


class Recorder:
    """The `Linear` of a float32 graph that notes which tensor goes into each product, for `measure`."""

    def __init__(self) -> None:
        self.inputs: dict[str, str] = {}
        self.weights: dict[str, np.ndarray] = {}

    def __call__(self, graph: Graph, x: str, weight: np.ndarray, name: str) -> str:
        """Add the product in float32."""
        self.inputs[name] = x
        self.weights[name] = weight
        return matmul(graph, x, weight, name)


class StaticInt8:
    """The `Linear` that multiplies unsigned 8-bit activations with signed 7-bit weights, one scale a column.

    Parameters
    ----------
    activations : dict of str to Activation
        By name of the product, from `measure`.
    """

    def __init__(self, activations: dict[str, Activation]) -> None:
        self._activations = activations

    def __call__(self, graph: Graph, x: str, weight: np.ndarray, name: str) -> str:
        """Add the product in eight bits."""
        seen = self._activations[name]
        divided = graph.node("Mul", [x, graph.constant(f"{name}.smoothing", 1 / seen.smoothing)], f"{name}.smoothed")
        step = (seen.high - seen.low) / 255
        scale = graph.constant(f"{name}.in.scale", np.array(step, dtype=np.float32))
        zero = graph.constant(f"{name}.in.zero", np.array(round(-seen.low / step), dtype=np.uint8))
        rounded = graph.node("QuantizeLinear", [divided, scale, zero], f"{name}.in")
        weight = weight * seen.smoothing[:, None]
        steps = (np.maximum(np.abs(weight).max(axis=0), 1e-12) / WEIGHT_LEVELS).astype(np.float32)
        integers = graph.constant(f"{name}.weight", np.rint(weight / steps).astype(np.int8))
        inputs = [rounded, integers, scale, graph.constant(f"{name}.weight.scale", steps), zero]
        return graph.contrib("MatMulIntegerToFloat", inputs, name)


def half_lookup(graph: Graph, ids: str, table: np.ndarray, name: str) -> str:
    """Look rows up in a table of 16-bit floats: half the memory; eight bits cost retrieval quality here."""
    rows = graph.node("Gather", [graph.constant(f"{name}.table", table.astype(np.float16)), ids], f"{name}.half")
    return graph.node("Cast", [rows], name, to=TensorProto.FLOAT)


def measure(model: ModelProto, recorder: Recorder, samples: Sequence[Sequence[int]]) -> dict[str, Activation]:
    """Run a float32 graph on sample texts and note the range of what goes into each product.

    Parameters
    ----------
    model : onnx.ModelProto
        Graph built with ``recorder``; it is given further outputs.
    recorder : Recorder
        What the graph was built with.
    samples : sequence of sequence of int
        Token ids of the sample texts.

    Returns
    -------
    dict of str to Activation
        By name of the product.
    """
    model.graph.output.extend(
        helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None) for tensor in recorder.inputs.values()
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values: dict[str, list[np.ndarray]] = {name: [] for name in recorder.inputs}
    for ids in samples:
        feeds = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        for name, value in zip(values, session.run(list(recorder.inputs.values()), feeds), strict=True):
            values[name].append(value[0])
    return {name: _activation(np.concatenate(seen), recorder.weights[name]) for name, seen in values.items()}


def _activation(values: np.ndarray, weight: np.ndarray) -> Activation:
    largest = np.maximum(np.abs(values).max(axis=0), 1e-3)
    largest_weight = np.maximum(np.abs(weight).max(axis=1), 1e-5)
    smoothing = (largest**SMOOTHING / largest_weight ** (1 - SMOOTHING)).astype(np.float32)
    smoothed = values / smoothing
    return Activation(
        smoothing=smoothing, low=min(0.0, float(smoothed.min()) * MARGIN), high=max(0.0, float(smoothed.max()) * MARGIN)
    )
