"""The ONNX graph of a BERT sentence encoder: token ids in, one normalised vector a text out.

Built node by node from the weights, with ONNX Runtime's fused operators (``com.microsoft``), so that neither torch nor
a graph optimiser is needed. The matrix products go through a `Linear`, which is where precisions differ; see
`inference.minilm.quantize`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

OPSET = 20


class BertConfig(msgspec.Struct, frozen=True):
    """The part of a model's ``config.json`` that shapes the graph; names as there.

    Attributes
    ----------
    hidden_size, num_hidden_layers, num_attention_heads : int
        Width, layers and heads.
    layer_norm_eps : float
        Added to the variance in layer normalisation.
    hidden_act, position_embedding_type : str
        Only ``gelu`` and ``absolute`` are supported.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    position_embedding_type: str = "absolute"


class Linear(Protocol):
    """Adds ``x @ weight`` to a graph in some precision and returns the name of the result."""

    def __call__(self, graph: "Graph", x: str, weight: np.ndarray, name: str) -> str:
        """Add the nodes; ``weight`` has shape (in, out), float32."""


class Lookup(Protocol):
    """Adds a look-up of rows in a table to a graph and returns the name of the result."""

    def __call__(self, graph: "Graph", ids: str, table: np.ndarray, name: str) -> str:
        """Add the nodes; ``table`` has shape (rows, width), float32."""


class Graph:
    """Nodes and constants on their way into a model."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant and return its name."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:  # ONNX attributes
        """Add a node with one output and return the output's name."""
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def contrib(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add one of ONNX Runtime's own operators."""
        return self.node(op, inputs, output, domain="com.microsoft", **attributes)


def matmul(graph: Graph, x: str, weight: np.ndarray, name: str) -> str:
    """Multiply in float32: the `Linear` of the reference graph."""
    return graph.node("MatMul", [x, graph.constant(f"{name}.weight", weight)], name)


def lookup(graph: Graph, ids: str, table: np.ndarray, name: str) -> str:
    """Look rows up in float32: the `Lookup` of the reference graph."""
    return graph.node("Gather", [graph.constant(f"{name}.table", table), ids], name)


def build(
    weights: Mapping[str, np.ndarray], config: BertConfig, linear: Linear = matmul, words: Lookup = lookup
) -> ModelProto:
    """Build the encoder with mean pooling and L2 normalisation.

    Parameters
    ----------
    weights : mapping of str to numpy.ndarray
        Tensors under the names the original model gives them.
    config : BertConfig
        Shape of the model.
    linear : Linear
        How a matrix product is computed.
    words : Lookup
        How the embeddings of the words are stored and looked up.

    Returns
    -------
    onnx.ModelProto
        Inputs ``input_ids`` and ``attention_mask``, int64, shape (batch, tokens); output ``embedding``, float32, shape
        (batch, hidden_size), each row of L2 norm 1.

    Raises
    ------
    ValueError
        If the model is of a kind this graph does not compute.
    """
    if (config.hidden_act, config.position_embedding_type) != ("gelu", "absolute"):
        raise ValueError(
            f"model has activation {config.hidden_act!r} and position embedding {config.position_embedding_type!r}; "
            "only 'gelu' and 'absolute' are supported: use another embedding model"
        )
    graph = Graph()
    x = _embeddings(graph, weights, config, words)
    mask = graph.node("Cast", ["attention_mask"], "mask_int32", to=TensorProto.INT32)
    for layer in range(config.num_hidden_layers):
        x = _layer(graph, weights, config, linear, x, mask, layer)
    _pool(graph, x)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", config.hidden_size])]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    proto = helper.make_graph(graph.nodes, "encoder", inputs, outputs, graph.initializers)
    return helper.make_model(proto, opset_imports=opsets, ir_version=9, producer_name="millrace")


def _embeddings(graph: Graph, weights: Mapping[str, np.ndarray], config: BertConfig, words: Lookup) -> str:
    # Every token has type 0, so its embedding is added to the positions once and for all.
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    graph.constant("embeddings.position", positions)
    graph.constant("zero", np.array([0], dtype=np.int64))
    graph.constant("one", np.array([1], dtype=np.int64))
    shape = graph.node("Shape", ["input_ids"], "shape")
    n_tokens = graph.node("Slice", [shape, "one", graph.constant("two", np.array([2], dtype=np.int64))], "n_tokens")
    here = graph.node("Slice", ["embeddings.position", "zero", n_tokens], "positions")
    found = words(graph, "input_ids", weights["embeddings.word_embeddings.weight"], "words")
    x = graph.node("Add", [found, here], "embedded")
    scale, bias = _norm(graph, weights, "embeddings.LayerNorm")
    return graph.node("LayerNormalization", [x, scale, bias], "layer.0.in", axis=-1, epsilon=config.layer_norm_eps)


def _layer(
    graph: Graph, weights: Mapping[str, np.ndarray], config: BertConfig, linear: Linear, x: str, mask: str, layer: int
) -> str:
    source = f"encoder.layer.{layer}"
    name = f"layer.{layer}"
    parts = [f"{source}.attention.self.{part}" for part in ("query", "key", "value")]
    packed = linear(graph, x, np.concatenate([weights[f"{part}.weight"].T for part in parts], axis=1), f"{name}.qkv")
    biases = graph.constant(f"{name}.qkv.bias", np.concatenate([weights[f"{part}.bias"] for part in parts]))
    query, key, value = (f"{name}.{part}" for part in ("query", "key", "value"))
    graph.nodes.append(helper.make_node("Split", [packed], [query, key, value], axis=-1, num_outputs=3))
    attended = graph.contrib(
        "MultiHeadAttention",
        [query, key, value, biases, mask],
        f"{name}.attended",
        num_heads=config.num_attention_heads,
    )

    def residual(product: str, skip: str, dense: str, norm: str, output: str) -> str:
        bias = graph.constant(f"{output}.bias", weights[f"{source}.{dense}.bias"])
        scale, shift = _norm(graph, weights, f"{source}.{norm}")
        inputs = [product, skip, scale, shift, bias]
        return graph.contrib("SkipLayerNormalization", inputs, output, epsilon=config.layer_norm_eps)

    projected = linear(graph, attended, weights[f"{source}.attention.output.dense.weight"].T, f"{name}.projected")
    x = residual(projected, x, "attention.output.dense", "attention.output.LayerNorm", f"{name}.attention")
    widened = linear(graph, x, weights[f"{source}.intermediate.dense.weight"].T, f"{name}.widened")
    bias = graph.constant(f"{name}.widened.bias", weights[f"{source}.intermediate.dense.bias"])
    active = graph.contrib("BiasGelu", [widened, bias], f"{name}.active")
    narrowed = linear(graph, active, weights[f"{source}.output.dense.weight"].T, f"{name}.narrowed")
    return residual(narrowed, x, "output.dense", "output.LayerNorm", f"{name}.out")


def _norm(graph: Graph, weights: Mapping[str, np.ndarray], source: str) -> tuple[str, str]:
    scale = graph.constant(f"{source}.scale", weights[f"{source}.weight"])
    return scale, graph.constant(f"{source}.shift", weights[f"{source}.bias"])


def _pool(graph: Graph, x: str) -> None:
    """Average the tokens that are not padding, then scale to length 1."""
    mask = graph.node("Cast", ["attention_mask"], "mask_float", to=TensorProto.FLOAT)
    column = graph.node("Unsqueeze", [mask, graph.constant("last", np.array([-1], dtype=np.int64))], "mask_column")
    summed = graph.node("ReduceSum", [graph.node("Mul", [x, column], "kept"), "one"], "summed", keepdims=0)
    count = graph.node("ReduceSum", [column, "one"], "count", keepdims=0)
    mean = graph.node("Div", [summed, count], "mean")
    graph.node("LpNormalization", [mean], "embedding", axis=-1, p=2)
