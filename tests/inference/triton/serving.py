"""An embedder behind a server for the length of a block, and what is done to the server meanwhile."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from inference.minilm.artefact import PROBES, Artefact
from inference.triton import TritonEmbedder, TritonOptions
from infra.servers.triton import TritonServer
from millrace.errors import Unavailable
from tests.tritons import model_processes

QUESTION = ["where is the mill?"]
CORPUS = ["the water mill grinds grain " * 20] * 40


@asynccontextmanager
async def opened(artefact: Artefact, address: str, **options: Any) -> AsyncIterator[TritonEmbedder]:
    embedder = await TritonEmbedder.open(artefact, address, options=TritonOptions(**options))
    try:
        yield embedder
    finally:
        await embedder.close()


async def works_again(embedder: TritonEmbedder, timeout_s: float = 20.0) -> np.ndarray:
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                return await embedder.embed(PROBES)
            except Unavailable:
                await asyncio.sleep(0.02)


def kill_model(server: TritonServer, name: str, signal_number: int = signal.SIGKILL) -> None:
    for process in model_processes(server, name):
        os.kill(process.pid, signal_number)
