"""Events about what tenants use."""

from typing import Annotated, ClassVar

from millrace.event import Event


class UsageMetered(Event, frozen=True, kw_only=True):
    """One question's use, keyed by tenant so that a table can add it up."""

    namespace: ClassVar[str] = "millrace.usage"

    tenant: Annotated[str, "Tenant that used it."]
    answer: Annotated[str, "Id of the AnswerProduced."]
    status: Annotated[str, "How the question ended."]
    n_tokens_in: Annotated[int, "Tokens read."] = 0
    n_tokens_out: Annotated[int, "Tokens written."] = 0
    cost_usd: Annotated[float, "Price."] = 0.0


class UsageTotalled(Event, frozen=True, kw_only=True):
    """A tenant's use so far."""

    namespace: ClassVar[str] = "millrace.usage"

    tenant: Annotated[str, "Tenant."]
    n_questions: Annotated[int, "Questions that ended."] = 0
    n_answered: Annotated[int, "Of these, answered from the corpus."] = 0
    n_tokens_in: Annotated[int, "Tokens read."] = 0
    n_tokens_out: Annotated[int, "Tokens written."] = 0
    cost_usd: Annotated[float, "Price."] = 0.0
