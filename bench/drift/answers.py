"""Ask the shipped agents each question once: drift is then looked for in streams made of their answers."""

import asyncio
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agents.query.policy import QueryPolicy
from bench.datasets import load
from bench.quality.stack import QualityStack, open_stack
from infra.settings import load as load_settings
from millrace.evaluation.questions import KnownQuestion
from millrace.events.query import AnswerProduced

PLAIN, RESTRICTED = "policyqa", "policyqa-restricted"
BASE = "xquad"


class Asked(msgspec.Struct, frozen=True):
    """A question's answer and where the question comes from.

    Attributes
    ----------
    topic : str
        Its article, or its policy.
    """

    topic: str
    answer: AnswerProduced


def ask_all(data: Path, cache: Path, n_policy: int, seed: int) -> dict[str, list[Asked]]:
    """Answers of all questions of XQuAD and of some of PolicyQA, the latter with and without its policy as a label.

    Parameters
    ----------
    data : Path
        Folder with the data sets; both are indexed together.
    cache : Path
        File of the embedding cache, kept from run to run.
    n_policy : int
        How many of PolicyQA's questions, at random.
    seed : int
        Which ones.
    """
    return asyncio.run(_ask_all(data, cache, n_policy, seed))


async def _ask_all(data: Path, cache: Path, n_policy: int, seed: int) -> dict[str, list[Asked]]:
    articles, policies = load(BASE, data), load(PLAIN, data)
    chosen = random.Random(seed).sample(policies.questions, min(n_policy, len(policies.questions)))
    models = load_settings().settings.cache / "models"
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="millrace-drift-") as folder:
        async with open_stack(Path(folder), models, cache, QueryPolicy()) as stack:
            await stack.ingest([*articles.documents, *policies.documents])
            return {
                BASE: await _ask(stack, articles.questions, restricted=False),
                PLAIN: await _ask(stack, chosen, restricted=False),
                RESTRICTED: await _ask(stack, chosen, restricted=True),
            }


async def _ask(stack: QualityStack, questions: Sequence[KnownQuestion], *, restricted: bool) -> list[Asked]:
    everyone = sorted(stack.groups)
    found = []
    for question in questions:
        answer = await stack.answer(question.question, everyone, question.labels if restricted else {})
        found.append(Asked(question.labels.get("policy") or question.documents[0], answer))
    return found
