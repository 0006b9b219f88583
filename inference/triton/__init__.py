"""Models behind a Triton server.

In reading order: `embedder` is the adapter, `model` one model of a server with its deadlines, proofs and revival,
`connection` speaks gRPC and sorts what can go wrong, `breaker` says when to stop asking, `proving` how the models are.
"""

from inference.triton.connection import TritonConnection
from inference.triton.embedder import TritonEmbedder, TritonOptions
from inference.triton.proving import prove_served

__all__ = ["TritonConnection", "TritonEmbedder", "TritonOptions", "prove_served"]
