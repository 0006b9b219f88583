"""What counts as a proof that a model lives, whoever speaks for the server."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from inference.triton.breaker import Breaker
from inference.triton.connection import Busy, Expired
from inference.triton.model import Patience, Proof, TritonModel
from millrace.errors import Unavailable

PROOF = Proof([[101, 102]], np.ones((1, 1), dtype=np.float32))
PATIENCE = Patience(deadline_s=5.0, silence_s=0.02, proof_s=0.1)


@dataclass
class Silent:
    """A server whose model says nothing for a while, and that answers proofs with an error."""

    refusal: Busy
    answers_after_s: float
    address: str = "127.0.0.1:1"

    async def embed(self, model: str, version: int, rows: Sequence[Any], *, priority: int, **_: Any) -> np.ndarray:
        if priority == 1:
            raise self.refusal
        await asyncio.sleep(self.answers_after_s)
        return np.ones((len(rows), 1), dtype=np.float32)


def model(server: Silent, breaker: Breaker) -> TritonModel:
    connection: Any = server
    return TritonModel(connection, "m", 1, proof=PROOF, patience=PATIENCE, priority=2, breaker=breaker)


async def test_a_proof_that_expired_in_the_queue_is_none() -> None:
    """It goes first: whoever does not take it for so long hangs."""
    breaker = Breaker()
    with pytest.raises(Unavailable, match="no answer and no proof"):
        await model(Silent(Expired("timeout expired"), 5.0), breaker).embed([[101, 102]])
    assert not breaker.closed


async def test_a_full_queue_is_no_reason_to_give_up_a_slow_answer() -> None:
    breaker = Breaker()
    found = await model(Silent(Busy("maximum queue size"), 0.2), breaker).embed([[101, 102]])
    assert found.shape == (1, 1)
    assert breaker.closed
