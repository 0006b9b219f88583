"""What the agents of the learning loop need from outside; see `agents.ports`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from agents.guard.policy import GuardPolicy
from agents.learn.attributions import Attributions
from agents.learn.policy import LearnPolicy
from agents.ports import Embedder, ObjectStore, PersonalData, Principal, TextScanner, VectorStore, VisibleSet
from agents.query.policy import QueryPolicy


class LearnPorts(msgspec.Struct, frozen=True):
    """What decides in the learning loop without asking anything outside."""

    policy: LearnPolicy


class ExamplePorts(msgspec.Struct, frozen=True):
    """What makes examples: looks at them, masks them, and writes their texts; `language` as in `Parser`."""

    objects: ObjectStore
    personal_data: PersonalData
    scanner: TextScanner
    language: Callable[[str], str]
    guard: GuardPolicy
    policy: LearnPolicy


class PastVisibility(Protocol):
    """The visibility table, as of now and as of earlier."""

    def visible(
        self, tenant: str, principal: Principal, *, at: str | None = None, labels: Mapping[str, str] | None = None
    ) -> VisibleSet:
        """As `Visibility.visible`, or as of the watermark `at`; LogTruncated where that is gone."""


class AttributionPorts(msgspec.Struct, frozen=True):
    """What finds out which stage failed; it writes nothing anywhere, and remembers what it found lately."""

    embedder: Embedder
    objects: ObjectStore
    vectors: VectorStore
    visibility: PastVisibility
    query: QueryPolicy
    policy: LearnPolicy
    attributions: Attributions = msgspec.field(default_factory=Attributions)
