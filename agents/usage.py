"""Meter what each tenant uses: one record per question that ended, and totals in a table.

Delivery: at least once; a metered question has a derived id, and the table applies each id once.
"""

import msgspec
from millrace.agent import agent
from millrace.events.query import AnswerProduced
from millrace.events.usage import UsageMetered, UsageTotalled
from millrace.topics import ANSWER_PRODUCED, USAGE_METERED, USAGE_TOTALLED


@agent(source=ANSWER_PRODUCED, sinks=(USAGE_METERED,))
def meter(answer: AnswerProduced) -> UsageMetered:
    """Say what one question used."""
    return UsageMetered(
        tenant=answer.tenant,
        answer=answer.meta.id,
        status=answer.status,
        n_tokens_in=answer.n_tokens_in,
        n_tokens_out=answer.n_tokens_out,
        cost_usd=answer.cost_usd,
    )


class UsageTotals(msgspec.Struct, frozen=True):
    """What a tenant has used so far."""

    n_questions: int = 0
    n_answered: int = 0
    n_tokens_in: int = 0
    n_tokens_out: int = 0
    cost_usd: float = 0.0


@agent(source=USAGE_METERED, sinks=(USAGE_TOTALLED,), state=UsageTotals)
def total_usage(totals: UsageTotals, metered: UsageMetered) -> tuple[UsageTotals, UsageTotalled]:
    """Add one question to its tenant's totals."""
    totals = UsageTotals(
        n_questions=totals.n_questions + 1,
        n_answered=totals.n_answered + (metered.status == "answered"),
        n_tokens_in=totals.n_tokens_in + metered.n_tokens_in,
        n_tokens_out=totals.n_tokens_out + metered.n_tokens_out,
        cost_usd=totals.cost_usd + metered.cost_usd,
    )
    return totals, UsageTotalled(tenant=metered.tenant, **msgspec.structs.asdict(totals))
