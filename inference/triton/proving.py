"""Whether the models of a server compute what they should, for whoever only wants to know."""

import asyncio
from contextlib import suppress
from pathlib import Path

from inference.encoding import TextEncoder
from inference.minilm.artefact import PROBES, Artefact
from inference.model_repository.generate import LANES, lane_model
from inference.triton.connection import Busy, TritonConnection
from inference.triton.model import Patience, Proof, TritonModel


async def prove_served(
    artefact: Artefact,
    address: str,
    *,
    version: int = 1,
    key: str = "",
    tls_ca: Path | None = None,
    within_s: float = 2.0,
) -> None:
    """Let every lane's model embed known texts, once; nothing is loaded again, and a full queue is well.

    Parameters
    ----------
    artefact : Artefact
        The converted model; its tokenizer and its known vectors are used.
    address : str
        ``host:port`` of the server's gRPC service.
    version : int
        Version of its models.
    key : str
        What a server with restricted protocols asks for.
    tls_ca : Path, optional
        Certificates that sign the server's; without them the connection is not encrypted.
    within_s : float
        Time for the answer, in seconds.

    Raises
    ------
    Unavailable
        A model gives no answer in time.
    ConfigurationError
        It computes something else.
    """
    proof = Proof(TextEncoder(artefact).encode(PROBES), artefact.expected)
    patience = Patience(deadline_s=within_s, silence_s=within_s, proof_s=within_s)
    connection = TritonConnection(address, key=key, tls_ca=tls_ca)

    async def prove(name: str) -> None:
        with suppress(Busy):
            await TritonModel(connection, name, version, proof=proof, patience=patience, priority=1).prove()

    try:
        async with asyncio.timeout(2 * within_s):  # a client that cannot even connect
            await asyncio.gather(*(prove(lane_model(artefact, lane)) for lane in LANES))
    finally:
        await connection.close()
