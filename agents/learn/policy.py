"""What an operator may set about the learning loop, with defaults and reasons."""

from typing import Annotated

import msgspec


class LearnPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of what judges answers and learns from them; the same for every worker of a stack."""

    # --- what people do with answers: agents.learn.sessions
    session_gap_s: Annotated[float, "A conversation that was quiet for so long begins another session."] = 1_800.0
    session_lateness_s: Annotated[
        float, "So much later than it happened something may arrive and still count; what is later is dropped."
    ] = 300.0
    session_turns: Annotated[int, "Questions of open sessions that are held for one conversation; oldest go first."] = (
        64
    )
    rephrased_within: Annotated[int, "A question is compared with so many that follow it in its session."] = 3
    rephrased_poor: Annotated[
        float, "After a poor answer, questions that are this much alike (0 to 1) ask the same."
    ] = 0.5
    rephrased_ignored: Annotated[float, "The same after an answer that nobody did anything with."] = 0.6

    # --- how good answers are, and which stage failed: agents.learn.quality, agents.learn.attribution

    # --- drift: agents.learn.drift

    # --- examples: agents.learn.examples, agents.learn.curation
