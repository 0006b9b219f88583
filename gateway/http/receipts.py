"""Receipts of changes as opaque tokens: `after` of a question and `/v1/receipts/{token}` take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.identity import Identity
from gateway.problems import invalid
from gateway.seals import Seals
from millrace.events.query import Receipt

_PURPOSE: Final = "receipt"


def receipt_token(seals: Seals, identity: Identity, receipt: Receipt) -> str:
    """Token of a receipt, for its caller."""
    return seals.seal(_PURPOSE, identity, msgspec.msgpack.encode(receipt))


def receipt_of(seals: Seals, identity: Identity, token: str) -> Receipt | None:
    """Receipt of a token; None for one that was not given to this caller."""
    raw = seals.open(_PURPOSE, identity, token)
    return None if raw is None else msgspec.msgpack.decode(raw, type=Receipt)


def receipts_of(seals: Seals, identity: Identity, tokens: Sequence[str]) -> tuple[Receipt, ...]:
    """Receipts of the tokens in a body; `Problem` with 422 for one that was not given to this caller."""
    found = []
    for number, token in enumerate(tokens):
        receipt = receipt_of(seals, identity, token)
        if receipt is None:
            raise invalid([{"loc": ("after", number), "msg": "is no receipt that this gateway gave you"}])
        found.append(receipt)
    return tuple(found)
