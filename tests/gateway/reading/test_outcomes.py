"""Laws about outcomes from the table: those of the log, whoever wrote the change, waited for without a reader."""

import asyncio
from collections.abc import Collection, Sequence

from gateway.reading.outcomes import outcome_within
from millrace.events.corpus import AclChanged, DocumentIndexed, DocumentSettled
from millrace.events.query import Receipt
from streams.visibility.file import Settled
from tests.gateway.reading.conftest import ANN, MALLORY, Log
from tests.streams.visibility.corpus_log import indexed


async def told(log: Log, receipt: Receipt) -> tuple[str, int, str] | None:
    found = await log.library.outcome(ANN, receipt)
    return None if found is None else (found.outcome, found.version, found.reason)


async def test_a_change_has_its_own_outcome_also_when_later_ones_have_come(log: Log) -> None:
    await log.document("a.md", 1, "One.")
    await log.document("a.md", 2, "Two.")
    await log.write(DocumentSettled(tenant="acme", document="a.md", version=3, outcome="rejected", reason="too_large"))
    await log.delete("a.md", 4)
    found = [await told(log, Receipt("acme", "a.md", version)) for version in range(1, 6)]
    assert found == [("indexed", 1, ""), ("indexed", 2, ""), ("rejected", 3, "too_large"), ("deleted", 4, ""), None]


async def test_an_outcome_that_only_a_later_one_follows_is_the_later_one(log: Log) -> None:
    await log.document("a.md", 3, "Three.")
    assert await told(log, Receipt("acme", "a.md", 1)) == ("indexed", 3, "")
    await log.write(DocumentSettled(tenant="acme", document="b.md", version=2, outcome="unchanged"))
    assert await told(log, Receipt("acme", "b.md", 1)) == ("unchanged", 2, "")


async def test_a_version_that_was_held_back_and_released_is_indexed(log: Log) -> None:
    await log.write(DocumentSettled(tenant="acme", document="a.md", version=1, outcome="rejected", reason="held"))
    assert await told(log, Receipt("acme", "a.md", 1)) == ("rejected", 1, "held")
    await log.document("a.md", 1, "Released.")
    assert await told(log, Receipt("acme", "a.md", 1)) == ("indexed", 1, "")


async def test_a_change_whose_access_has_not_come_has_no_outcome(log: Log) -> None:
    await log.write(indexed("a.md", 1, acl_version=2))
    assert await told(log, Receipt("acme", "a.md", 1, 2)) is None
    await log.write(AclChanged(tenant="acme", document="a.md", version=2, groups=("*",)))
    assert await told(log, Receipt("acme", "a.md", 1, 2)) == ("indexed", 1, "")
    assert await told(log, Receipt("acme", "a.md", 0, 2)) == ("access", 0, "")


async def test_an_outcome_is_waited_for_until_it_has_been_read(log: Log) -> None:
    receipt = Receipt("acme", "a.md", 1)
    assert await log.library.outcome(ANN, receipt, 0.05) is None
    waiting = asyncio.create_task(log.library.outcome(ANN, receipt, 30))
    await log.document("a.md", 1, "Text.")
    found = await waiting
    assert found is not None
    assert (found.outcome, found.receipt) == ("indexed", receipt)


class Pruned:
    """A table that forgets a version between naming it and reading it."""

    def resolved(self, receipt: Receipt) -> bool:
        return True

    async def wait_for(self, receipts: Collection[Receipt]) -> None:
        return None

    def current(self, tenant: str, document: str) -> DocumentIndexed | None:
        raise LookupError(document)

    def retained(self, tenant: str, document: str) -> Sequence[DocumentIndexed]:
        return ()

    def outcome(self, tenant: str, document: str) -> Settled | None:
        return None


async def test_a_version_that_is_pruned_while_it_is_looked_for_is_looked_for_again_later() -> None:
    assert await outcome_within(Pruned(), Receipt("acme", "a.md", 1), 0) is None


async def test_a_receipt_of_another_tenant_tells_nothing(log: Log) -> None:
    await log.write(DocumentIndexed(tenant="acme", document="a.md", version=1, deleted=True))
    assert await log.library.outcome(MALLORY, Receipt("acme", "a.md", 1)) is None
