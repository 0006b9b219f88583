"""Fields with a description, typed: strawberry's own decorators are not, where they are given arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry

F = TypeVar("F", bound=Callable[..., Any])


def looked_up(description: str) -> Callable[[F], F]:
    """A field that a method looks up."""
    return cast("Callable[[F], F]", strawberry.field(description=description))


def done(description: str) -> Callable[[F], F]:
    """A mutation that a method does."""
    return cast("Callable[[F], F]", strawberry.mutation(description=description))
