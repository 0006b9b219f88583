"""Derived identities: uuid5 over length-prefixed parts, never random where a redelivery must repeat it."""

import hashlib
import uuid

NAMESPACE = uuid.UUID("6d696c6c-7261-5365-8000-000000000001")
_NAMESPACE_BYTES = NAMESPACE.bytes
_FIXED_BITS = (0xF000 << 64) | (0xC000 << 48)  # version and variant, RFC 9562 section 4
_VERSION_5 = (0x5000 << 64) | (0x8000 << 48)


def derived(*parts: str | bytes | int) -> str:
    """uuid5 of `parts`; prefixing each with its length keeps ("ab", "c") and ("a", "bc") apart."""
    joined = [_NAMESPACE_BYTES]
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode()
        joined += (len(raw).to_bytes(4, "big"), raw)
    digest = hashlib.sha1(b"".join(joined), usedforsecurity=False).digest()
    number = int.from_bytes(digest[:16], "big") & ~_FIXED_BITS | _VERSION_5
    text = f"{number:032x}"  # what str(uuid.UUID(...)) gives, in a third of its time: every output has such an id
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def chunk_id(tenant: str, document: str, content_hash: str, occurrence: int, birth_version: str) -> str:
    """Identity of a chunk.

    Parameters
    ----------
    content_hash : str
        SHA-256, hex, of exactly the text that is embedded (heading path included).
    occurrence : int
        How many times the same hash came before in the document.
    birth_version : str
        The order (source epoch, version, generation) that first held it, so that an id once retired never returns.
    """
    return derived("chunk", tenant, document, content_hash, occurrence, birth_version)


def output_id(cause_id: str, agent: str, event_type: str, slot: str) -> str:
    """Id of an event that an agent derives from one cause."""
    return derived("event", cause_id, agent, event_type, slot)


def root_id(source: str, tenant: str, document: str, epoch: int, version: int) -> str:
    """Id of a SourceChanged: the same change produced twice is one event."""
    return derived("root", source, tenant, document, epoch, version)


def content_hash(text: str) -> str:
    """SHA-256 of a text, hex."""
    return hashlib.sha256(text.encode()).hexdigest()
