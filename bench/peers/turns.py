"""Peers take turns; one that fails is left out from then on and named, and costs the others nothing."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Turns(msgspec.Struct, Generic[T], frozen=True):
    """What was measured.

    Attributes
    ----------
    samples : dict of str to list
        By contender, one for each turn; only of those that never failed.
    failures : dict of str to str
        Why the others are missing.
    """

    samples: dict[str, list[T]]
    failures: dict[str, str]


async def in_turns(contenders: Mapping[str, Callable[[], Awaitable[T]]], repetitions: int) -> Turns[T]:
    """Run every contender once per repetition, each time beginning with another one."""
    names = list(contenders)
    samples: dict[str, list[T]] = {name: [] for name in names}
    failures: dict[str, str] = {}
    for i in range(repetitions):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            if name in failures:
                continue
            try:
                samples[name].append(await contenders[name]())
            except Exception as error:  # noqa: BLE001 - whatever a peer does is a finding
                failures[name] = f"{type(error).__name__}: {error}"
                samples.pop(name)
    return Turns(samples, failures)
