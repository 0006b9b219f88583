"""What an operator may set about the learning loop, with defaults and reasons."""

from typing import Annotated

import msgspec


class LearnPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of what judges answers and learns from them; the same for every worker of a stack."""

    # --- what people do with answers: agents.learn.sessions

    # --- how good answers are, and which stage failed: agents.learn.quality, agents.learn.attribution

    # --- drift: agents.learn.drift

    # --- examples: agents.learn.examples, agents.learn.curation
    example_window: Annotated[
        int, "Examples of a tenant, the last that were taken, that duplicates are looked for in and that caps hold for."
    ] = 300
    example_days: Annotated[int, "Older ones do not count among them, by the time of what they were made from."] = 30
    example_user_cap: Annotated[int, "At most so many of them from one user; users without a name count as one."] = 15
    example_approved_cap: Annotated[
        int, "At most so many of them from approved answers: what the stack said itself must not outweigh people."
    ] = 150
    example_label_share: Annotated[
        float, "No label may have more than this share of them, or than twice its even share where that is more."
    ] = 0.5
    example_balance_from: Annotated[int, "From so many on, labels are balanced."] = 20
    example_similarity: Annotated[
        float, "Examples of the same numbers whose shingles overlap so much, by Jaccard index, are near-duplicates."
    ] = 0.8
    eval_share: Annotated[
        float,
        "Share of documents whose examples are kept for evaluation; a change moves documents between the two splits.",
    ] = 0.2
