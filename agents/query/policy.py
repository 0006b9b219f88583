"""What an operator may set about the question path, with defaults and reasons."""

from typing import Annotated

import msgspec


class QueryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of `admit`, `retrieve`, `read` and `answer`; the same for every worker of a stack."""

    max_question_chars: Annotated[int, "Longer questions are refused."] = 4_000
    max_top_k: Annotated[int, "More chunks cannot be asked for."] = 100
    max_timeout_ms: Annotated[int, "Questions that allow more time are refused; ends of questions are kept longer."] = (
        300_000
    )
    reply_topics: Annotated[tuple[str, ...], "Topics that may be named as reply-to."] = ("query.reply.v1",)
    not_ready_retry_ms: Annotated[int, "When to ask again while the end of the log is not confirmed."] = 1_000
    retracted_retry_ms: Annotated[int, "When to ask again after a passage of the answer was changed or withdrawn."] = (
        100
    )
    exact_below_chunks: Annotated[int, "Visible sets of at most this size are searched exhaustively."] = 2_000
    light_above_chunks: Annotated[
        int, "Larger sets are searched exhaustively without holding all of their sentence vectors in memory."
    ] = 4_096
    restrict_below_documents: Annotated[int, "Up to so many visible documents the store is asked for those only."] = 500
    candidates: Annotated[int, "Candidates asked for at first, of each kind; doubled while too few are visible."] = 100
    max_candidates: Annotated[int, "Where doubling ends and the store is asked for the visible documents only."] = 1_600
    dense_weight: Annotated[float, "Weight of the cosine in the first score; the rest is BM25's."] = 0.6
    rerank_chunks: Annotated[int, "So many of the best chunks are ordered anew by their best sentence."] = 50
    rerank_weight: Annotated[float, "Weight of the best sentence's cosine in the final score."] = 0.45
    untrusted_source_share: Annotated[
        float, "Share of the hits that one untrusted source may take while others have something to show."
    ] = 0.4
    sentence_weight: Annotated[float, "Weight of the sentence's signal in reading; the rest is its chunk's."] = 0.7
    max_quotes: Annotated[int, "Sentences quoted in an answer at most."] = 3
    quote_margin: Annotated[float, "Further sentences are quoted if they score within this of the best."] = 0.3
    answer_threshold: Annotated[
        float, "The corpus is said to hold no answer where the signal (`agents.query.read.answerable`) is below this."
    ] = 0.55
    restricted_threshold: Annotated[
        float, "The same for questions restricted by labels: who asks them has said where the answer is."
    ] = 0.43
