"""What is masked in messages about failures before they are published: dead letters and failed answers carry no secret.

This package does not know what is secret. Whoever runs agents says it, for the process: see `using`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Redact = Callable[[str], str]


class _Chosen:
    redact: Redact | None = None


def redacted(text: str) -> str:
    """Text without what must not be published, as far as somebody said what that is."""
    return text if _Chosen.redact is None else _Chosen.redact(text)


@contextmanager
def using(redact: Redact) -> Iterator[None]:
    """Mask messages of this process by `redact` within the context."""
    before, _Chosen.redact = _Chosen.redact, redact
    try:
        yield
    finally:
        _Chosen.redact = before
