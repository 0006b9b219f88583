"""Turn the corrections of reviewers into feedback: what should have been answered, from someone who looked at it.

Delivery: at least once; the feedback has a derived id, and tables apply each id once.
"""

from millrace.agent import agent
from millrace.events.feedback import FeedbackGiven
from millrace.events.guard import ReviewDecisionMade
from millrace.topics import FEEDBACK_GIVEN, REVIEW_DECISION_MADE


@agent(source=REVIEW_DECISION_MADE, sinks=(FEEDBACK_GIVEN,))
def take_correction(decision: ReviewDecisionMade) -> FeedbackGiven | None:
    """The right answer that a reviewer gave, as feedback on the answer."""
    if decision.subject_kind != "answer" or decision.decision != "correct":
        return None
    return FeedbackGiven(
        tenant=decision.tenant,
        conversation=decision.conversation,
        correlation=decision.subject,
        user=decision.user,
        kind="correction",
        text=decision.text,
    )
