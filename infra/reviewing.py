"""Opens what the guards know of decisions that people made, and who may read the documents they are about."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from agents.ports import GuardPorts, ReviewPorts
from infra.launch.seeding import table_path
from infra.launch.stack import Stack
from infra.settings import Settings
from millrace.codec import Codec
from streams.stores.objects import ContentStore
from streams.visibility.decisions import DocumentDecisions
from streams.visibility.tail import Tail


@dataclass
class Reviewing:
    """What is read from the log about reviews; opened only for agents that ask for it.

    Attributes
    ----------
    decisions : DocumentDecisions or None
        What people decided about documents.
    """

    settings: Settings
    stack: Stack
    name: str
    client: Mapping[str, Any]
    codec: Codec
    services: AsyncExitStack
    decisions: DocumentDecisions | None = None

    async def open(self, classes: Collection[type | None]) -> list[DocumentDecisions]:
        """Begin to read decisions; gives what the worker has to watch."""
        if not set(classes) & {GuardPorts, ReviewPorts}:
            return []
        self.decisions = DocumentDecisions(self.client, **self._log())
        self.services.push_async_callback(self.decisions.stop)
        await self.decisions.start()
        return [self.decisions]

    async def ports(self, classes: Collection[type | None], tail: Tail | None) -> list[ReviewPorts]:
        """Ports of who does as was decided; with a table of its own where the worker has none."""
        if ReviewPorts not in classes or self.decisions is None:
            return []
        if tail is None:
            self.settings.state.mkdir(parents=True, exist_ok=True)
            path = table_path(self.settings.state, self.name)
            tail = Tail(path, self.client, log_epoch=self.stack.log_epoch, **self._log())
            self.services.push_async_callback(tail.stop)
            await tail.start()
        return [ReviewPorts(self.decisions, tail, ContentStore(self.stack.objects))]

    def _log(self) -> dict[str, Any]:
        return {"codec": self.codec, **self.settings.fetch_waits}
