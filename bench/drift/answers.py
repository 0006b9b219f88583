"""Ask the shipped agents each question once: drift is then looked for in streams made of their answers."""

import asyncio
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agents.learn.signals import measure_signals
from agents.query.policy import QueryPolicy
from bench.datasets import load
from bench.quality.stack import QualityStack, open_stack
from infra.settings import load as load_settings
from millrace.evaluation.questions import KnownQuestion
from millrace.event import Origin
from millrace.testing import delivered
from millrace.topics import ANSWER_PRODUCED

PLAIN, RESTRICTED = "policyqa", "policyqa-restricted"
BASE = "xquad"


class Asked(msgspec.Struct, frozen=True):
    """What drift is looked for in, of one question's answer, and where the question comes from.

    Attributes
    ----------
    topic : str
        Its article, or its policy.
    values : dict of str to float
        By signal.
    """

    topic: str
    values: dict[str, float]


Answers = dict[str, list[Asked]]


def kept(path: Path, data: Path, cache: Path, n_policy: int, seed: int) -> Answers:
    """What `ask_all` gives, from a file if it was written by the same call before."""
    name = f"{n_policy} questions of PolicyQA, seed {seed}"
    if path.exists():
        known = msgspec.json.decode(path.read_bytes(), type=dict[str, Answers])
        if name in known:
            return known[name]
    found = ask_all(data, cache, n_policy, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode({name: found}))
    return found


def ask_all(data: Path, cache: Path, n_policy: int, seed: int) -> Answers:
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


async def _ask_all(data: Path, cache: Path, n_policy: int, seed: int) -> Answers:
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
    found: list[Asked] = []
    for question in questions:
        answer = await stack.answer(question.question, everyone, question.labels if restricted else {})
        measured = measure_signals(delivered(answer, origin=Origin(ANSWER_PRODUCED.name, 0, len(found))))
        if measured is not None:
            found.append(Asked(question.labels.get("policy") or question.documents[0], measured.values))
    return found
