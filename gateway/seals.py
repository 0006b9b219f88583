"""Tokens that callers keep for the gateway: encrypted, bound to who got them, readable by every replica.

What stands in them (places in the log, receipts, cursors) tells nobody how busy others are, and a token of someone else
is no token at all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.identity import Identity

_NONCE: Final = 12
_MAX_CHARS: Final = 64 * 1024


class Seals:
    """Makes and reads sealed tokens.

    Parameters
    ----------
    secret : bytes
        What all replicas share; at least 16 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise ValueError(f"the secret of sealed tokens has {len(secret)} bytes; use 16 or more random ones")
        self._cipher = AESGCM(hashlib.sha256(b"millrace gateway seal\0" + secret).digest())

    def seal(self, purpose: str, owner: Identity, payload: bytes) -> str:
        """A url-safe token of `payload` for one purpose and one caller."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, payload, _bound(purpose, owner))
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, purpose: str, owner: Identity, token: str) -> bytes | None:
        """What was sealed; None for a token that is damaged, of another purpose or of another caller."""
        if not 0 < len(token) <= _MAX_CHARS:
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            return self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], _bound(purpose, owner))
        except (InvalidTag, binascii.Error, ValueError):
            return None


def _bound(purpose: str, owner: Identity) -> bytes:
    return msgspec.msgpack.encode((purpose, owner.tenant, owner.kind, owner.user))
