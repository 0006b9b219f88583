"""What an operator may set about the learning loop, with defaults and reasons."""

from typing import Annotated, Literal

import msgspec


class LearnPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of what judges answers and learns from them; the same for every worker of a stack."""

    # --- what people do with answers: agents.learn.sessions

    # --- how good answers are, and which stage failed: agents.learn.quality, agents.learn.attribution

    # --- drift: agents.learn.drift
    drift_delta: Annotated[
        float,
        "Bound of the probability of a false alarm of one tenant, divided among the signals.",
        msgspec.Meta(gt=0, lt=1),
    ] = 0.002
    drift_clock: Annotated[int, "A change is looked for at every so many values of a signal.", msgspec.Meta(ge=1)] = 8
    drift_lexical_span: Annotated[
        float,
        "BM25 of a best chunk that is seldom exceeded; a smaller one is quicker and takes bursts for changes.",
        msgspec.Meta(gt=0),
    ] = 50.0
    drift_window: Annotated[int, "Values of a signal in one window for people.", msgspec.Meta(ge=1)] = 50
    drift_refractory: Annotated[
        int,
        "A change that begins at most so many records after a request for training is the one requested for.",
        msgspec.Meta(ge=0),
    ] = 200
    drift_trains: Annotated[Literal["reader", "embedder", "ranker"], "Model that training is requested for."] = "reader"

    # --- examples: agents.learn.examples, agents.learn.curation
