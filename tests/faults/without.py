"""Run a worker with one of its defences taken out: ``python -m tests.faults.without NAME worker ...``.

A fault test that passes all the same proves nothing, so each has a control that starts its workers here. What is taken
out is taken out in that process alone, by a class or a function of its own in the place of the project's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from infra.__main__ import main
from tests.faults import without_corpus as corpus
from tests.faults import without_pump as pump

WITHOUT: dict[str, Callable[[], None]] = {
    "prefix": pump.without_prefix,
    "bound": pump.without_bound,
    "drain": pump.without_drain,
    "waiting": pump.without_waiting,
    "last_commit": pump.without_last_commit,
    "ownership": pump.without_ownership,
    "dead_letters": pump.without_dead_letters,
    "classes": pump.without_classes,
    "lanes": pump.without_lanes,
    "yielding": pump.without_yielding,
    "forgetting": pump.without_forgetting,
    "applied": pump.without_applied,
    "derived_ids": corpus.without_derived_ids,
    "memory": corpus.without_memory,
    "digests": corpus.without_digests,
    "schemas": corpus.without_schemas,
    "tenants": corpus.without_tenants,
    "order": corpus.without_order,
    "history": corpus.without_history,
    "chunk_ids": corpus.without_chunk_ids,
    "merging": corpus.without_merging,
    "warm": corpus.without_warm,
    "certainty": corpus.without_certainty,
    "garbage": corpus.without_garbage,
    "access": corpus.without_access,
    "checksums": corpus.without_checksums,
    "by_clock": corpus.by_clock,
    "every_record": corpus.without_every_record,
    "ends": corpus.without_ends,
    "redaction": pump.without_redaction,
}
WATCHED: dict[str, Callable[[], None]] = {
    "nothing": corpus.counting,
    "ahead": corpus.ahead,
    "behind": corpus.behind,
    "versions_held": corpus.versions_held,
    "letters_held": pump.holding_letters,
}


def run(arguments: Sequence[str]) -> None:
    """Take out the defences named first, joined by ``+``, and run the command that follows."""
    for name in arguments[0].split("+"):
        (WITHOUT | WATCHED)[name]()
    sys.argv = [sys.argv[0], *arguments[1:]]
    main()


if __name__ == "__main__":
    run(sys.argv[1:])
