"""Texts to token ids, as every embedder needs them."""

from collections.abc import Sequence
from typing import Final

from inference.minilm.artefact import Artefact, open_tokenizer

SHORT_CALL_CHARACTERS: Final = 2_000
TEXTS_PER_TASK: Final = 512


def is_short(texts: Sequence[str]) -> bool:
    """Whether a call is one that somebody waits for, such as a question, and not a corpus."""
    return sum(map(len, texts)) <= SHORT_CALL_CHARACTERS


class TextEncoder:
    """The tokenizer of an artefact; it does not hold the interpreter while it computes.

    Parameters
    ----------
    artefact : Artefact
        The converted model.
    """

    def __init__(self, artefact: Artefact) -> None:
        self.tokenizer = open_tokenizer(artefact.tokenizer, truncate=True)
        self._counter = open_tokenizer(artefact.tokenizer, truncate=False)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut at the model's limit, the two that mark its ends included."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(_encodable(texts))]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, the two that mark its ends included, without a limit."""
        return [len(encoding) for encoding in self._counter.encode_batch_fast(_encodable(texts))]


def _encodable(texts: Sequence[str]) -> list[str]:
    """Replace what has no UTF-8 form (lone surrogates), which the tokenizer would refuse."""
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
