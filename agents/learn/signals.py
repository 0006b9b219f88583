"""Measure what drift is looked for in: one record of numbers for each answer, and for each piece of feedback on one.

The gap is that of BM25, as a share of the best. Final scores are brought to 0..1 within each result, so that their gap
says little of the result; cosines lie too close together; and the plain difference of BM25 follows the length of
questions and the names in them, which come in bursts of one subject.

A bare search is no answer: nothing was read for it, and its words are those of whoever types into a search box. Nor
does feedback on one say anything of what is learned. Feedback does not tell what it is about: `agents.learn.quality`,
which knows the question, measures it.

Delivery: at least once; a measured record has a derived id, and tables apply each id once.
"""

from collections.abc import Mapping
from typing import Final

from millrace.agent import agent
from millrace.events.feedback import FeedbackGiven
from millrace.events.learn import OffsetRange, SignalsMeasured
from millrace.events.query import AnswerProduced
from millrace.topics import ANSWER_PRODUCED, SIGNALS_MEASURED

LEXICAL_TOP1: Final = "lexical_top1"
SCORE_GAP: Final = "score_gap"
CONFIDENCE: Final = "confidence"
FEEDBACK: Final = "feedback"
SIGNALS: Final = (LEXICAL_TOP1, SCORE_GAP, CONFIDENCE, FEEDBACK)
"""All of them, in the order in which they are looked at."""
_GAP_PLACE: Final = 5


@agent(source=ANSWER_PRODUCED, sinks=(SIGNALS_MEASURED,))
def measure_signals(event: AnswerProduced) -> SignalsMeasured | None:
    """Numbers of an answer that was looked for."""
    return _measured(event, _of_answer(event))


def measured_feedback(event: FeedbackGiven) -> SignalsMeasured | None:
    """Numbers of feedback that says something of its answer; None for other feedback."""
    value = min(max(event.value, -1.0), 1.0)  # a rating from elsewhere may be any number
    return _measured(event, {FEEDBACK: value} if value else {})


def _measured(event: AnswerProduced | FeedbackGiven, values: Mapping[str, float]) -> SignalsMeasured | None:
    origin = event.meta.origin
    if not values or origin is None:
        return None
    return SignalsMeasured(
        tenant=event.tenant,
        conversation=event.conversation,
        correlation=event.correlation,
        values=dict(values),
        position=OffsetRange(origin.topic, origin.partition, origin.offset, origin.offset + 1),
    )


def _of_answer(answer: AnswerProduced) -> Mapping[str, float]:
    if not answer.hits or answer.mode == "search":
        return {}
    lexical = sorted((hit.lexical for hit in answer.hits), reverse=True)
    best = lexical[0]
    values = {LEXICAL_TOP1: best, CONFIDENCE: answer.confidence}
    if len(lexical) >= _GAP_PLACE:
        values[SCORE_GAP] = (best - lexical[_GAP_PLACE - 1]) / best if best > 0 else 0.0
    return values
