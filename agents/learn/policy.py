"""What an operator may set about the learning loop, with defaults and reasons."""

import msgspec


class LearnPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of what judges answers and learns from them; the same for every worker of a stack."""

    # --- what people do with answers: agents.learn.sessions

    # --- how good answers are, and which stage failed: agents.learn.quality, agents.learn.attribution

    # --- drift: agents.learn.drift

    # --- examples: agents.learn.examples, agents.learn.curation
