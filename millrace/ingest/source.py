"""What a source is: something that holds documents and can say what it holds now."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection
from typing import Literal, Protocol

import msgspec

Trust = Literal["trusted", "untrusted"]


class Skipped(msgspec.Struct, frozen=True):
    """A document, file or folder that is not sent, and why, as a short name and in words."""

    id: str
    reason: str
    message: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document as a source holds it now.

    Attributes
    ----------
    id : str
        Document id within the tenant.
    content : bytes or None
        What it says; None unless `state` is ``present``.
    state : {"present", "unchanged", "deleted"}
        ``unchanged``: as the log holds it, found without reading; ``deleted``: the source says that it was removed.
    """

    id: str
    media_type: str = "text/markdown"
    content: bytes | None = None
    state: Literal["present", "unchanged", "deleted"] = "present"
    title: str = ""
    trust: Trust = "trusted"


def below(prefix: str) -> str:
    """What ids begin with: a prefix and its slash, or nothing."""
    name = prefix.strip("/")
    return f"{name}/" if name else ""


Held = Callable[[str], str]
"""Digest of what the log holds of a document, hex; empty where it must be sent whatever it says."""


class Source(Protocol):
    """Somewhere documents come from.

    Attributes
    ----------
    name : str
        Owns the documents in the log.
    skipped : list of Skipped
        What cannot be sent, filled by `documents` and made empty when it starts.
    passed_over : counter of str
        Files that are left alone because of their format, by their endings; likewise.
    put_off : set of str
        Ids of documents left for a later look because they were written just now; likewise.
    """

    name: str
    skipped: list[Skipped]
    passed_over: Counter[str]
    put_off: set[str]

    def documents(self, held: Held) -> AsyncGenerator[Document, None]:
        """Everything that may have changed, in a fixed order; `held` is asked before something is read in vain.

        Raises
        ------
        InputRejected
            There is no such source.
        Unavailable
            It does not answer.
        """

    async def lost(self, documents: Collection[str]) -> set[str]:
        """Those of some documents that this source does not hold any more, or never held.

        Raises
        ------
        InputRejected
            This source cannot tell.
        """

    async def commit(self) -> None:
        """Note how far the log knows this source: everything that `documents` gave is in the log.

        Raises
        ------
        ConfigurationError
            It cannot be noted.
        """

    async def close(self) -> None:
        """Let go of connections."""
