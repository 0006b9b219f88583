"""Record keys and partitions: typed, percent-encoded, murmur2 everywhere.

A key names the tenant first, so that a record can be checked against its headers and body:
``t/<tenant>/d/<document>``, ``t/<tenant>/c/<conversation>``, ``t/<tenant>``.
"""

import re
from functools import lru_cache
from urllib.parse import quote, unquote

from millrace.errors import ContractError

_SLASHES_ALONE = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch  # most names; quote() would take ten times as long


@lru_cache(maxsize=4096)  # a record's key is built when it is read, checked, and again for each of its outputs
def key(tenant: str, kind: str = "", name: str = "") -> str:
    """Build a record key.

    Parameters
    ----------
    tenant : str
        Tenant, any non-empty text.
    kind : str
        One letter: ``d`` document, ``c`` conversation, or one of your own; empty for the tenant itself.
    name : str
        Identifier within the tenant, any text.
    """
    if not tenant:
        message = "a key needs a tenant; got an empty one"
        raise ContractError(message)
    head = f"t/{_quoted(tenant)}"
    return f"{head}/{kind}/{_quoted(name)}" if kind else head


def _quoted(text: str) -> str:
    return text.replace("/", "%2F") if _SLASHES_ALONE(text) else quote(text, safe="")


def document_key(tenant: str, document: str) -> str:
    """Key of everything that concerns one document."""
    return key(tenant, "d", document)


def conversation_key(tenant: str, conversation: str) -> str:
    """Key of everything that concerns one conversation."""
    return key(tenant, "c", conversation)


def tenant_of(record_key: bytes | str) -> str:
    """Tenant that a record key names.

    Raises
    ------
    ContractError
        If it is no typed key.
    """
    text = record_key.decode("utf-8", "replace") if isinstance(record_key, bytes) else record_key
    parts = text.split("/")
    if len(parts) not in (2, 4) or parts[0] != "t" or not parts[1]:
        message = f"record key {text[:80]!r} is not typed; expected t/<tenant>[/<kind>/<name>]"
        raise ContractError(message)
    return unquote(parts[1])


@lru_cache(maxsize=16_384)  # 3 us for a short key, and keys come back
def murmur2(data: bytes) -> int:
    """Kafka's murmur2 hash, as the Java client computes it (32 bits, unsigned)."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    tail = data[whole:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


def partition_for(record_key: str | bytes, n_partitions: int) -> int:
    """Partition of a key: the same for every client that Millrace configures."""
    data = record_key.encode() if isinstance(record_key, str) else record_key
    return (murmur2(data) & 0x7FFFFFFF) % n_partitions
