"""Receipts as one token: what `ingest` prints and `ask --after` takes."""

import base64
import binascii
import zlib
from collections.abc import Sequence

import msgspec

from millrace.errors import InputRejected
from millrace.events.query import Receipt

_PREFIX = "mr1."
MAX_RECEIPTS = 256


def encode(receipts: Sequence[Receipt]) -> str:
    """One url-safe token for any number of receipts; empty for none.

    For each document only the newest content and access version count, so the token stays short.
    """
    if not receipts:
        return ""
    rows = [[r.tenant, r.document, r.version, r.acl_version, r.source_epoch] for r in merged(receipts)]
    packed = zlib.compress(msgspec.json.encode(rows), 9)
    return _PREFIX + base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(token: str) -> tuple[Receipt, ...]:
    """Receipts of a token.

    Raises
    ------
    InputRejected
        If it is no receipt token, or was cut short.
    """
    text = token.strip()
    if not text.startswith(_PREFIX):
        raise InputRejected(
            f"{text[:40]!r} is no receipt: expected a token that starts with {_PREFIX!r}, as ingest prints"
        )
    body = text.removeprefix(_PREFIX)
    try:
        inflate = zlib.decompressobj()
        plain = inflate.decompress(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), 4 * 2**20)
        if not inflate.eof:
            raise zlib.error("incomplete")
        rows = msgspec.json.decode(plain, type=list[tuple[str, str, int, int, int]])
    except (binascii.Error, zlib.error, msgspec.MsgspecError, ValueError) as error:
        raise InputRejected(f"receipt {text[:20]}... is damaged ({error}); copy the whole token") from error
    return tuple(Receipt(*row) for row in rows)


def merged(receipts: Sequence[Receipt]) -> tuple[Receipt, ...]:
    """One receipt a document, with the newest content order and access version named."""
    found: dict[tuple[str, str], Receipt] = {}
    for new in receipts:
        old = found.get((new.tenant, new.document))
        if old is None:
            found[new.tenant, new.document] = new
            continue
        epoch, version = max((old.source_epoch, old.version), (new.source_epoch, new.version))
        found[new.tenant, new.document] = msgspec.structs.replace(
            old, source_epoch=epoch, version=version, acl_version=max(old.acl_version, new.acl_version)
        )
    return tuple(found.values())
