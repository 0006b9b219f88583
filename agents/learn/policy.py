"""What an operator may set about the learning loop, with defaults and reasons."""

from typing import Annotated, Literal

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
    answered_score: Annotated[float, "Score of an answer that nothing is known against or for."] = 0.75
    not_found_score: Annotated[float, "The same where it was said that the corpus holds no answer."] = 0.4
    refused_score: Annotated[float, "The same where the question was refused."] = 0.5
    retracted_score: Annotated[float, "The same where the answer was taken back; a failed one scores 0."] = 0.2
    ungrounded_cost: Annotated[float, "Taken off for words that no citation carries, times their share."] = 0.5
    repeated_cost: Annotated[float, "Taken off for an answer that repeats itself."] = 0.4
    slow_cost: Annotated[float, "Taken off for a slow answer."] = 0.1
    min_grounded: Annotated[float, "Answers with a smaller share of carried words are flagged as ungrounded."] = 0.6
    repeated_times: Annotated[int, "An answer that says a line so often is flagged as repeated."] = 3
    slow_ms: Annotated[float, "Answers that took longer are flagged as slow."] = 5_000.0
    implicit_weight: Annotated[float, "Weight of a sure conclusion from behaviour; a person's judgement weighs 1."] = (
        0.5
    )
    seen_weight: Annotated[float, "Weight of what is seen of the answer itself beside what people say of it."] = 0.25
    poor_below: Annotated[float, "Answers that score less are poor: someone should ask why."] = 0.5
    kept_answers: Annotated[int, "So many answers of a conversation still get feedback; older ones are settled."] = 64
    kept_answer_bytes: Annotated[int, "What is kept of them at most, compressed; the last answer always is."] = 65_536
    max_judges: Annotated[int, "Users whose feedback on one answer is counted at most."] = 32
    max_correction_chars: Annotated[int, "Longer corrections are cut."] = 4_000
    max_reviewed: Annotated[
        int, "Of the answers of a conversation that still get feedback, at most so many are put up for review."
    ] = 8

    max_searched_chunks: Annotated[
        int, "Where more is visible to the asker, no search says which stage failed: it would cost too much."
    ] = 5_000
    expected_words: Annotated[
        float, "A chunk holds a correction if it has this share of the content words, where none has it as it stands."
    ] = 0.8
    unknown_words: Annotated[
        float, "Share of words that no visible chunk knows, from which a question may be garbled: it is respelled then."
    ] = 0.5
    least_agreement: Annotated[
        float, "Kendall's tau of the recorded order and that by the recorded ingredients; below it the order is wrong."
    ] = 0.5
    place_tolerance: Annotated[int, "A hit may stand so many places behind where its ingredients put it."] = 2
    read_places: Annotated[int, "What stands behind so many hits is said to have been ranked too low to be read."] = 10

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
    drift_feedback_window: Annotated[
        int,
        "Pieces of feedback, the last that counted, among which an answer counts once and a conversation is capped.",
        msgspec.Meta(ge=1),
    ] = 200
    drift_conversation_cap: Annotated[
        int, "At most so many of them from one conversation: too few to be a change.", msgspec.Meta(ge=1)
    ] = 5
    drift_trains: Annotated[Literal["reader", "embedder", "ranker"], "Model that training is requested for."] = "reader"

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
