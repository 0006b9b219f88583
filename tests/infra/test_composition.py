"""Laws about what a worker's parts owe each other."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition

from agents.corpus import featurize
from agents.query import answer_question
from infra.composition import Composition
from millrace.agent import AgentSpec, spec_of
from millrace.codec import Codec


@dataclass
class View:
    """A view that notes which partitions it was to have read."""

    asked_for: list[Collection[int]] = field(default_factory=list)

    async def wait_ready(self) -> None:
        """It is."""

    async def caught_up(self, partitions: Iterable[int] | None = None) -> None:
        self.asked_for.append(set(partitions or ()))


@pytest.mark.parametrize(
    ("spec", "read"),
    [(answer_question, ["answers", "cancellations"]), (spec_of(featurize), ["tail"])],
    ids=["question", "corpus"],
)
async def test_an_agent_begins_with_a_partition_when_the_views_it_needs_have_read_it(
    spec: AgentSpec, read: list[str]
) -> None:
    composition: Any = Composition(Codec())
    views = {name: View() for name in ("tail", "answers", "cancellations")}
    for name, view in views.items():
        setattr(composition, name, view)
    composition.prepare_for([spec])
    await composition.prepare[spec.name]([TopicPartition(spec.sources[0].name, n) for n in (1, 3)])
    assert [name for name, view in views.items() if view.asked_for == [{1, 3}]] == read
    assert [name for name, view in views.items() if not view.asked_for] == [name for name in views if name not in read]


def test_every_part_of_a_run_that_is_cut_begins_when_its_views_have_read_the_partition() -> None:
    composition: Any = Composition(Codec())
    composition.tail = composition.answers = composition.cancellations = View()
    composition.prepare_for([answer_question], ("read", "answer"))
    assert set(composition.prepare) == {"answer_question", "read", "answer"}
