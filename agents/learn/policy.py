"""What an operator may set about the learning loop, with defaults and reasons."""

from typing import Annotated

import msgspec


class LearnPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of what judges answers and learns from them; the same for every worker of a stack."""

    # --- what people do with answers: agents.learn.sessions

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

    # --- examples: agents.learn.examples, agents.learn.curation
