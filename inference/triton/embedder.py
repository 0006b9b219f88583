"""Texts to vectors by a Triton server.

Texts become token ids here, which are cut into batches by their number of tokens and sent packed, so that a request is
a few kilobytes whatever the texts hold. Questions go to the interactive lane, documents to the bulk lane.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from inference.encoding import TEXTS_PER_TASK, TextEncoder, is_short
from inference.minilm.artefact import MAX_TOKENS, PROBES, Artefact
from inference.model_repository.batching import cut_batches
from inference.model_repository.generate import LANES, PRIORITIES, Lane, lane_model
from inference.triton.connection import TritonConnection
from inference.triton.model import Patience, Proof, TritonModel
from millrace.errors import ConfigurationError


class TritonOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is asked.

    Attributes
    ----------
    interactive_deadline_s, bulk_deadline_s : float
        For one request of a lane, in seconds.
    silence_s : float
        After this long without an answer a model has to prove that it lives, in seconds.
    proof_s : float
        How long a proof may take, in seconds; with `silence_s` it bounds how late a dead server is noticed.
    bulk_in_flight : int
        Requests of the bulk lane that are under way at a time; the others wait here.
    batch_tokens : int
        Tokens of a request at most, padding included; the server's own limit counts if it is lower.
    """

    interactive_deadline_s: float = 5.0
    bulk_deadline_s: float = 30.0
    silence_s: float = 2.0
    proof_s: float = 2.0
    bulk_in_flight: int = 4
    batch_tokens: int = 1_024

    def patience(self, lane: Lane) -> Patience:
        """Deadlines of a lane."""
        deadline_s = self.interactive_deadline_s if lane == "interactive" else self.bulk_deadline_s
        return Patience(deadline_s=deadline_s, silence_s=self.silence_s, proof_s=self.proof_s)


class TritonEmbedder:
    """An artefact behind a Triton server; make it with `open`.

    A text's vector does not depend on the texts beside it.
    """

    def __init__(
        self,
        artefact: Artefact,
        connection: TritonConnection,
        lanes: dict[Lane, TritonModel],
        encoder: TextEncoder,
        options: TritonOptions,
    ) -> None:
        self.model = artefact.model
        self.dim = int(artefact.expected.shape[1])
        self.max_tokens = MAX_TOKENS
        self._connection = connection
        self._lanes = lanes
        self._encoder = encoder
        self._batch_tokens = options.batch_tokens
        self._bulk_places = asyncio.Semaphore(options.bulk_in_flight)
        self._threads = {lane: ThreadPoolExecutor(1, thread_name_prefix=f"encode-{lane}") for lane in LANES}

    @classmethod
    async def open(
        cls,
        artefact: Artefact,
        address: str,
        *,
        version: int = 1,
        options: TritonOptions | None = None,
        key: str = "",
        tls_ca: Path | None = None,
    ) -> Self:
        """Connect, and prove that the server computes what the artefact does.

        Parameters
        ----------
        artefact : Artefact
            The converted model, for its tokenizer and its known vectors.
        address : str
            ``host:port`` of the server's gRPC service.
        version : int
            Version of the model.
        options : TritonOptions, optional
            Deadlines and bounds.
        key : str
            Key of a server with restricted protocols.
        tls_ca : Path, optional
            Certificates that sign the server's; without them the connection is not encrypted.

        Raises
        ------
        Unavailable
            The server does not answer.
        ConfigurationError
            It lacks the model, or computes something else.
        """
        options = options or TritonOptions()
        encoder = await asyncio.to_thread(TextEncoder, artefact)
        proof = Proof(encoder.encode(PROBES), artefact.expected)
        connection = TritonConnection(address, key=key, tls_ca=tls_ca)
        try:
            lanes: dict[Lane, TritonModel] = {}
            for lane in LANES:
                name, limit = await _model_for(connection, artefact, lane, options)
                options = msgspec.structs.replace(options, batch_tokens=min(limit, options.batch_tokens))
                lanes[lane] = TritonModel(
                    connection,
                    name,
                    version,
                    proof=proof,
                    patience=options.patience(lane),
                    priority=PRIORITIES[lane],
                )
                await lanes[lane].open()
        except BaseException:
            await connection.close()
            raise
        return cls(artefact, connection, lanes, encoder, options)

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts; what is beyond `max_tokens` of a text is not read.

        Returns
        -------
        numpy.ndarray
            Shape (len(texts), dim), float32, each row of L2 norm 1, in the order of the texts.

        Raises
        ------
        Unavailable
            The server or the model does not answer, or refuses for now.
        TimeoutError
            A deadline has passed although the model is well.
        """
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        lane: Lane = "interactive" if is_short(texts) else "bulk"
        parts = [texts[start : start + TEXTS_PER_TASK] for start in range(0, len(texts), TEXTS_PER_TASK)]
        loop = asyncio.get_running_loop()
        ids: list[list[int]] = []
        for part in parts:
            ids += await loop.run_in_executor(self._threads[lane], self._encoder.encode, part)

        async def run(batch: list[int]) -> None:
            rows = [ids[i] for i in batch]
            if lane == "interactive":
                vectors[batch] = await self._lanes[lane].embed(rows)
                return
            async with self._bulk_places:
                vectors[batch] = await self._lanes[lane].embed(rows)

        await _all([run(batch) for batch in cut_batches([len(row) for row in ids], self._batch_tokens)])
        return vectors

    def available(self) -> dict[str, bool]:
        """Whether calls pass, by name of the model."""
        return {model.name: model.available for model in self._lanes.values()}

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, the two that mark its ends included, without truncation."""
        return self._encoder.count(texts)

    async def close(self) -> None:
        """Cancel what is under way, close the connection and free the threads."""
        for model in self._lanes.values():
            await model.close()
        await self._connection.close()
        for threads in self._threads.values():
            threads.shutdown(wait=True, cancel_futures=True)


async def _model_for(
    connection: TritonConnection, artefact: Artefact, lane: Lane, options: TritonOptions
) -> tuple[str, int]:
    """Name of the server's model for a lane, and how many tokens it takes with one request.

    A server that has no instance for questions alone answers them from the bulk lane's model, first.

    Raises
    ------
    ConfigurationError
        It has neither, or takes less than one text.
    """
    names = [lane_model(artefact, lane), lane_model(artefact, "bulk")]
    for name in names:
        if limit := await connection.batch_tokens(name, deadline_s=options.proof_s):
            break
    else:
        raise ConfigurationError(
            f"Triton at {connection.address} has no model {names[-1]!r}; write it into its model repository with "
            "inference.model_repository.write_model and load it"
        )
    if limit < MAX_TOKENS:
        raise ConfigurationError(
            f"model {name!r} at {connection.address} takes {limit} tokens with one request, but a text has up to "
            f"{MAX_TOKENS}; raise its max_batch_size"
        )
    return name, limit


async def _all(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all; when one fails or the caller is cancelled, the others are cancelled, and the first error is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
