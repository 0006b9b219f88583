"""Put the frames of one reply in order: attempts, numbers, one end."""

from typing import Final

from millrace.events.query import AnswerCompleted, AnswerDelta, AnswerFailed, AnswerRetracted

Terminal = AnswerCompleted | AnswerFailed | AnswerRetracted
Frame = AnswerDelta | Terminal
MAX_HELD: Final = 4096


class FrameOrder:
    """Hands out the frames of one question in order, each once.

    A higher attempt takes the place of all frames of lower ones, repeated frames are dropped, and a frame that is
    ahead of its turn is held until the gap is closed. The first terminal frame ends the question, whatever its number:
    it carries the whole answer, so nothing that is still missing matters.

    Parameters
    ----------
    attempt, first : int
        What is due next, where frames were seen before; by default the first frame of any attempt.
    """

    def __init__(self, attempt: int = -1, first: int = 0) -> None:
        self.attempt = attempt
        self.ended = False
        self._next = first
        self._held: dict[int, AnswerDelta] = {}

    def accept(self, frame: Frame) -> list[Frame]:
        """Frames that are due now that `frame` has come; often one, sometimes none or several."""
        if self.ended:
            return []
        if not isinstance(frame, AnswerDelta):
            self.ended = True
            self._held.clear()
            return [frame]
        if frame.attempt > self.attempt:
            self.attempt, self._next = frame.attempt, 0
            self._held.clear()
        if frame.attempt < self.attempt or frame.n < self._next or len(self._held) >= MAX_HELD:
            return []
        self._held.setdefault(frame.n, frame)
        due: list[Frame] = []
        while self._next in self._held:
            due.append(self._held.pop(self._next))
            self._next += 1
        return due
