"""Documents that somebody withdrew: who may read them is kept under other names, so that it can be given back.

A withdrawn document has the groups it had, each behind `WITHDRAWN`. Nobody is a member of such a group, whatever a
token says: `streams.visibility.table` takes these names out of every principal.
"""

from collections.abc import Iterable
from typing import Final

WITHDRAWN: Final = "withdrawn:"
"""Begins the name of a group whose right is withheld."""


def withdrawn(groups: Iterable[str]) -> tuple[str, ...]:
    """Groups whose rights are withheld, sorted; those that are withheld already stay as they are.

    >>> withdrawn(("hr", "withdrawn:*"))
    ('withdrawn:*', 'withdrawn:hr')
    """
    return tuple(sorted({group if is_withheld(group) else f"{WITHDRAWN}{group}" for group in groups}))


def restored(groups: Iterable[str]) -> tuple[str, ...]:
    """The groups as they were before.

    >>> restored(("withdrawn:*", "withdrawn:hr"))
    ('*', 'hr')
    """
    return tuple(sorted({group.removeprefix(WITHDRAWN) for group in groups}))


def is_withheld(group: str) -> bool:
    """Whether a group's right is withheld."""
    return group.startswith(WITHDRAWN)


def is_withdrawn(groups: Iterable[str]) -> bool:
    """Whether a document with these groups was withdrawn."""
    return any(map(is_withheld, groups))
