"""Declare an agent: a plain function from events to events, recorded in a catalogue.

``@agent`` returns the function unchanged, so a test calls it directly. Three forms:

* stateless: ``def f(event) -> Outputs``
* keyed state: ``def f(state, event) -> tuple[state, Outputs]`` with ``state=`` giving the state class; a third
  parameter takes ports, which should hold a policy and nothing that waits
* with ports: ``async def f(event, ports) -> Outputs``, or, with ``batch=``,
  ``async def f(events, ports) -> Sequence[Result]``, one result per input.

``Outputs`` is None, one event or an iterable of events. Agents are at least once: outputs get derived ids, so that a
redelivery repeats them and readers drop the copies.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import msgspec

from millrace.errors import ConfigurationError
from millrace.event import Event
from millrace.topics import Topic

F = TypeVar("F", bound=Callable[..., Any])
Outputs = Event | Iterable[Event] | None


class Batch(msgspec.Struct, frozen=True):
    """How inputs are grouped across keys: by count, bytes and how long the first may wait.

    Attributes
    ----------
    apart : callable or None
        ``apart(event)`` says whether an input may take long: it is then a batch of its own, and no other input waits
        for it.
    kind : callable or None
        Inputs for which ``kind(event)`` differs are never in one batch, so that those of one kind wait for no other.
    """

    max_items: int = 1
    max_bytes: int = 1_048_576
    linger_ms: int = 0
    apart: Callable[[Any], bool] | None = None
    kind: Callable[[Any], Hashable] | None = None


class Result(msgspec.Struct, frozen=True):
    """What became of one input of a batch: its events, or its failure."""

    events: tuple[Event, ...] = ()
    error: BaseException | None = None

    @classmethod
    def ok(cls, *events: Event) -> "Result":
        """Outcome of an input that was handled; `events` may be empty."""
        return cls(events)

    @classmethod
    def fail(cls, error: BaseException) -> "Result":
        """Outcome of an input that failed; the error's class decides about retry and dead letter."""
        return cls((), error)


class AgentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalogue: everything a runner needs to know about an agent.

    Attributes
    ----------
    ports : callable or None
        Factory (an async context manager taking the runner's settings mapping) for agents that bring their own ports;
        None where the composition root provides them by the annotation of the second parameter.
    park : callable or None
        ``park(event, ports)`` gives None, or an awaitable to be waited for beside the lanes before the event enters.
    cancel : callable or None
        ``cancel(event, ports)`` gives None, or an awaitable that is done once nobody waits for the outcome any more (a
        future costs least; it is cancelled when the input has ended). The input then ends through `on_failure` with
        error type ``cancelled``: before its next stage, or by interrupting what the running stage awaits.
    on_failure : callable or None
        ``on_failure(event, error_type, message)`` gives the events that tell an asker that the input failed; they are
        published before it is dead-lettered or dropped.
    keep_days : int or None
        Days without an event, in the time of the log, after which the state of a key is forgotten; an event that comes
        later is that of a new key. None keeps it for ever.
    keep_keys, keep_user_keys : int or None
        About how many keys a tenant may have, and one user of it (the first that an event of a key names), each
        partition its even share; beyond, the state of those touched least lately is forgotten. Keys of which no event
        names a user may be half of a tenant's. None for any number.
    """

    name: str
    function: Callable[..., Any]
    sources: tuple[Topic, ...]
    sinks: tuple[Topic, ...]
    form: str
    batch: Batch | None = None
    state: type[msgspec.Struct] | None = None
    wants_ports: bool = False
    ports: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None
    park: Callable[[Any, Any], Awaitable[None] | None] | None = None
    cancel: Callable[[Any, Any], Awaitable[None] | None] | None = None
    on_failure: Callable[[Any, str, str], Sequence[Event]] | None = None
    timeout_s: float = 60.0
    max_attempts: int = 3
    stages: tuple["AgentSpec", ...] = ()
    keep_days: int | None = None
    keep_keys: int | None = None
    keep_user_keys: int | None = None

    @property
    def module(self) -> str:
        """Module that defines the agent."""
        return self.function.__module__


CATALOGUE: dict[str, AgentSpec] = {}


def agent(  # noqa: PLR0913 - keywords of a declaration, each with a default
    *,
    source: Topic | Sequence[Topic],
    sinks: Sequence[Topic] = (),
    batch: Batch | None = None,
    state: type[msgspec.Struct] | None = None,
    name: str | None = None,
    ports: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
    park: Callable[[Any, Any], Awaitable[None] | None] | None = None,
    cancel: Callable[[Any, Any], Awaitable[None] | None] | None = None,
    on_failure: Callable[[Any, str, str], Sequence[Event]] | None = None,
    timeout_s: float = 60.0,
    max_attempts: int = 3,
    keep_days: int | None = None,
    keep_keys: int | None = None,
    keep_user_keys: int | None = None,
) -> Callable[[F], F]:
    """Record a function as an agent and return it unchanged.

    Parameters
    ----------
    source : Topic or sequence of Topic
        What it reads. Several topics must be keyed alike and have the same number of partitions.
    sinks : sequence of Topic
        What it may emit; anything else is a ContractError in the runner.
    batch : Batch, optional
        Ask for batches; the function then takes a sequence of events with distinct keys.
    state : type, optional
        State class of a keyed agent; an instance with defaults is the first state of a key.
    name : str, optional
        Defaults to the function's name. It is part of derived ids and of the consumer group: keep it stable.
    ports, park, cancel, on_failure, timeout_s, max_attempts, keep_days, keep_keys, keep_user_keys
        See `AgentSpec`. `timeout_s` is in seconds.

    Raises
    ------
    ConfigurationError
        If the declaration contradicts itself or the name is taken by another function.
    """
    sources = (source,) if isinstance(source, Topic) else tuple(source)
    if cancel is not None and (batch is not None or state is not None):
        message = "cancel= is for agents of one event; an agent with batches or state ends every input it was given"
        raise ConfigurationError(message)
    if keep_days is not None and (state is None or keep_days < 1):
        message = (
            f"keep_days={keep_days} says how many days, 1 or more, a key's state is kept; without state= leave it out"
        )
        raise ConfigurationError(message)
    for option, most in (("keep_keys", keep_keys), ("keep_user_keys", keep_user_keys)):
        if most is not None and (state is None or most < 1):
            message = f"{option}={most} says of how many keys, 1 or more, state is kept; without state= leave it out"
            raise ConfigurationError(message)

    def declare(function: F) -> F:
        spec = AgentSpec(
            name=name or function.__name__,
            function=function,
            sources=sources,
            sinks=tuple(sinks),
            form=_form(function, batch=batch, state=state),
            batch=batch,
            state=state,
            wants_ports=_n_parameters(function) == (1 if state is None else 2) + 1,
            ports=ports,
            park=park,
            cancel=cancel,
            on_failure=on_failure,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            keep_days=keep_days,
            keep_keys=keep_keys,
            keep_user_keys=keep_user_keys,
        )
        _record(spec)
        return function

    return declare


def fuse(
    name: str, *functions: Callable[..., Any], on_failure: Callable[[Any, str, str], Sequence[Event]] | None = None
) -> AgentSpec:
    """Join agents into one run: an output on a later stage's source topic is handed on in the same process.

    Every intermediate event is still published, so the log is the same as with each stage on its own. The input is
    done when all events of the run are acknowledged. The stages no longer run by themselves.

    Returns
    -------
    AgentSpec
        The run, recorded in the catalogue in place of its stages; `stages` holds them in order. `park` and `cancel`
        are those of the first stage.
    """
    stages = tuple(spec_of(function) for function in functions)
    sinks = tuple(dict.fromkeys(topic for stage in stages for topic in stage.sinks))
    first = stages[0]
    spec = msgspec.structs.replace(
        first, name=name, sinks=sinks, stages=stages, form="fused", on_failure=on_failure or first.on_failure
    )
    for stage in stages:
        CATALOGUE.pop(stage.name, None)
    _record(spec)
    return spec


def spec_of(function: Callable[..., Any]) -> AgentSpec:
    """Spec of a declared function.

    Raises
    ------
    ConfigurationError
        If it was never declared with `agent`.
    """
    found = _BY_FUNCTION.get(function)
    if found is None:
        message = f"{function!r} is not an agent; decorate it with @agent"
        raise ConfigurationError(message)
    return found


_BY_FUNCTION: dict[Callable[..., Any], AgentSpec] = {}


def _record(spec: AgentSpec) -> None:
    known = CATALOGUE.get(spec.name)
    if known is not None and (known.module, known.function.__qualname__) != (spec.module, spec.function.__qualname__):
        message = f"two agents are called {spec.name!r}: {known.module} and {spec.module}; give one another name"
        raise ConfigurationError(message)
    CATALOGUE[spec.name] = spec
    if not spec.stages:
        _BY_FUNCTION[spec.function] = spec


def _n_parameters(function: Callable[..., Any]) -> int:
    return function.__code__.co_argcount


def _form(function: Callable[..., Any], *, batch: Batch | None, state: type[msgspec.Struct] | None) -> str:
    n = _n_parameters(function)
    least = 1 if state is None else 2
    if state is not None and batch is not None:
        message = f"agent {function.__name__!r} asks for state and batches; a keyed agent takes one event at a time"
        raise ConfigurationError(message)
    if n not in {least, least + 1}:
        message = f"agent {function.__name__!r} takes {n} parameters, expected {least} or {least + 1}"
        raise ConfigurationError(message)
    return "keyed" if state is not None else "batch" if batch is not None else "single"


__all__ = ["CATALOGUE", "AgentSpec", "Batch", "Outputs", "Result", "agent", "fuse", "spec_of"]
