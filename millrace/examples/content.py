"""What the object of an example holds: its masked texts, and the ids of what was retrieved."""

import re
from typing import Final

import msgspec

from millrace.errors import ContractError

PLACEHOLDER: Final = re.compile(r"\[[A-Z][A-Z0-9_]*_\d+\]")
"""What stands for something that was masked, such as ``[EMAIL_ADDRESS_1]``."""


class ExamplePassage(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that was quoted, masked.

    Attributes
    ----------
    document, version, chunk_id : str, int, str
        Where it was quoted from.
    heading, text : str
        Heading path of the chunk, and the quote.
    """

    document: str
    version: int
    chunk_id: str
    heading: str = ""
    text: str = ""


class RetrievedChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that was retrieved, by id alone."""

    document: str
    version: int
    chunk_id: str
    rank: int


class ExampleContent(msgspec.Struct, frozen=True, kw_only=True):
    """Question, context and target of an example.

    Attributes
    ----------
    question : str
        The question, masked.
    target : str
        What would have been right, masked.
    context : tuple of ExamplePassage
        Passages of the example's documents that the answer quoted.
    retrieved : tuple of RetrievedChunk
        All chunks that were retrieved, in order of rank.
    labels : dict of str to str
        Labels that the search was restricted to.
    groups : tuple of str
        Groups in force when it was asked.
    """

    question: str
    target: str
    context: tuple[ExamplePassage, ...] = ()
    retrieved: tuple[RetrievedChunk, ...] = ()
    labels: dict[str, str] = {}
    groups: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The object: the same content gives the same bytes."""
        return msgspec.json.encode(self, order="deterministic")


def decode(ref: str, data: bytes) -> ExampleContent:
    """Content of an example's object.

    Raises
    ------
    ContractError
        If the object is no example.
    """
    try:
        return msgspec.json.decode(data, type=ExampleContent)
    except msgspec.MsgspecError as error:
        raise ContractError(f"object {ref} is no example ({error}); it was not written by the learning loop") from error
