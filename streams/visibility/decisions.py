"""What people decided about documents: the `Reviewed` port of the agents, folded from the log and held in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from millrace.codec import Codec
from millrace.event import Event
from millrace.events.guard import ReviewDecisionMade
from millrace.reviewing import overtaken
from millrace.topics import REVIEW_DECISION_MADE
from streams.visibility.topic_view import TopicView


class DocumentDecisions(TopicView):
    """The last decision about each item that is about a document; see `TopicView` for the parameters.

    A record is one of about a hundred bytes, and there are as many as people made decisions in the year that the topic
    keeps.
    """

    def __init__(self, connection: Mapping[str, Any], *, codec: Codec | None = None, **options: Any) -> None:
        super().__init__(connection, REVIEW_DECISION_MADE, codec, **options)
        self._of_document: defaultdict[tuple[str, str], dict[str, ReviewDecisionMade]] = defaultdict(dict)

    def released(self, tenant: str, document: str, content: str) -> bool:
        """Whether the last decision about this text of this document let it be read."""
        found = [each for each in self._decided(tenant, document).values() if each.content == content]
        return any(each.decision == "release" for each in found) and all(each.decision != "withdraw" for each in found)

    def withdrawn(self, tenant: str, document: str) -> bool:
        """Whether a decision that holds withdrew the document."""
        return any(each.decision == "withdraw" for each in self._decided(tenant, document).values())

    def keep(self, event: Event, timestamp_ms: int, n_bytes: int) -> None:  # noqa: ARG002 - of all views
        """Take a decision in; records of an item are in one partition, so the last one read is the last one made."""
        if isinstance(event, ReviewDecisionMade) and event.subject_kind == "document":
            made = self._of_document[event.tenant, event.subject]
            if not overtaken(made.get(event.item), event):
                made[event.item] = event.replace(text="")  # notes are long, and nothing here reads them

    def _decided(self, tenant: str, document: str) -> Mapping[str, ReviewDecisionMade]:
        return self._of_document.get((tenant, document), {})
