"""An answer as a stream may send it: what was sent cannot be taken back, only ended: pure."""

from __future__ import annotations

from typing import Final

from gateway.openai.usage import first_words

OVERTAKEN: Final = "the answer was begun anew and reads differently; discard what was streamed and ask again"


class Overtaken(Exception):
    """What was sent is not how the answer reads now."""


class Growth:
    """Text of one answer that grows by pieces.

    A piece of a higher attempt starts the answer anew. As long as that one says the same, nothing is sent twice and the
    stream goes on behind what was sent; once it says something else, there is no honest way to go on.

    Parameters
    ----------
    longest : int, optional
        Words that may be sent; the rest is left out.
    """

    def __init__(self, longest: int | None = None) -> None:
        self.sent = ""
        self.cut = False
        self._longest = longest
        self._attempt = -1
        self._text = ""

    def piece(self, attempt: int, text: str) -> str:
        """What may be sent now that a further piece has come; may be empty.

        Raises
        ------
        Overtaken
            It contradicts what was sent.
        """
        if attempt < self._attempt:
            return ""
        if attempt > self._attempt:
            self._attempt, self._text = attempt, ""
        self._text += text
        return self._send(self._text, whole=False)

    def rest(self, whole: str) -> str:
        """What is missing of the whole answer.

        Raises
        ------
        Overtaken
            It contradicts what was sent.
        """
        return self._send(whole, whole=True)

    def _send(self, text: str, *, whole: bool) -> str:
        allowed, more = (text, False) if self._longest is None else first_words(text, self._longest)
        self.cut = self.cut or more
        if allowed.startswith(self.sent):
            new = allowed[len(self.sent) :]
            self.sent = allowed
            return new
        if whole or not self.sent.startswith(allowed):
            raise Overtaken(OVERTAKEN)
        return ""
