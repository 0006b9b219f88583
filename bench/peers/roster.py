"""Who is compared: peers, their programs and variants, and how each is installed."""

from pathlib import Path
from typing import NamedTuple

LOCKS = Path(__file__).parent / "locks"


class Peer(NamedTuple):
    """A peer and one way to run it.

    Attributes
    ----------
    name : str
        How it is chosen on the command line.
    title : str
        How reports call it.
    program : str
        Module in `bench.peers.programs`.
    parts : tuple of str
        Distributions whose versions are reported.
    lock : str
        Stem of its requirements in ``locks/``; empty where this project's own environment has it.
    variant : str
        Handed to the program.
    share : float
        Of the readings that throughput is measured with, so that no run takes minutes.
    timed, disturbed : bool
        Whether it takes part in throughput and in the fault matrix.
    groups : bool
        Whether two processes of it share the partitions of a topic.
    """

    name: str
    title: str
    program: str
    parts: tuple[str, ...]
    lock: str = ""
    variant: str = ""
    share: float = 1.0
    timed: bool = True
    disturbed: bool = True
    groups: bool = True


_FAUST = ("faust-streaming", "mode-streaming", "aiokafka")
_FASTSTREAM = ("faststream", "aiokafka", "fast-depends")
PEERS: tuple[Peer, ...] = (
    Peer("millrace", "Millrace", "millrace_worker", ("millrace", "aiokafka")),
    Peer("aiokafka", "bare aiokafka loop", "aiokafka_loop", ("aiokafka",)),
    Peer("confluent", "bare confluent-kafka loop", "confluent_loop", ("confluent-kafka",)),
    Peer("faust", "Faust, concurrency 1", "faust_agent", _FAUST, variant="1", share=0.25),
    Peer("faust-4", "Faust, concurrency 4", "faust_agent", _FAUST, variant="4", timed=False),
    Peer("faststream", "FastStream, default", "faststream_app", _FASTSTREAM, "faststream", "default", share=1 / 16),
    Peer("faststream-nack", "FastStream, NACK_ON_ERROR", "faststream_app", _FASTSTREAM, "faststream", "nack", 0.025),
    Peer("faststream-batches", "FastStream, batches", "faststream_app", _FASTSTREAM, "faststream", "batches"),
    Peer("quix", "Quix Streams", "quix_dataframe", ("quixstreams", "confluent-kafka"), "quixstreams"),
    Peer("bytewax", "Bytewax", "bytewax_flow", ("bytewax", "confluent-kafka"), "bytewax", groups=False),
)
PIPELINES: tuple[Peer, ...] = (
    Peer("llamaindex", "LlamaIndex", "ingest_llamaindex",
         ("llama-index-core", "llama-index-vector-stores-lancedb", "lancedb", "onnxruntime"), "llamaindex"),
    Peer("haystack", "Haystack", "ingest_haystack",
         ("haystack-ai", "lancedb-haystack", "lancedb", "onnxruntime"), "haystack"),
)  # fmt: skip
RPC: tuple[Peer, ...] = (
    Peer("faust", "Faust's agent.ask", "rpc_faust", _FAUST),
    Peer("faststream", "FastStream's reply_to", "rpc_faststream", _FASTSTREAM, "faststream"),
)
NAMES = tuple(dict.fromkeys(peer.name for peer in (*PEERS, *PIPELINES)))
