"""What may be published about a failure: in dead letters, in replies, to whoever asked."""

from collections.abc import Callable

from millrace.errors import classify

_MASKS: list[Callable[[str], str]] = []


def mask_with(mask: Callable[[str], str]) -> Callable[[], None]:
    """Have `mask` go over every message that this process publishes; call what is returned to take it back."""
    _MASKS.append(mask)
    return lambda: _MASKS.remove(mask)


def describe(error: BaseException, agent: str) -> str:
    """Message about a failure that is safe to publish: an unknown exception's own text may hold content."""
    if classify(error) == "unknown":
        return f"{type(error).__name__} in agent {agent!r}; see the worker's log"
    text = str(error)
    for mask in _MASKS:
        text = mask(text)
    return text
