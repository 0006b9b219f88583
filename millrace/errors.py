"""Every error Millrace raises, as one tree.

::

    MillraceError
    ├── ConfigurationError          a setting or an installation is wrong          permanent
    │   └── StackNotFound           no running stack where one was expected
    ├── ContractError               a record breaks the event contract             permanent
    │   ├── UndecodableRecord       bytes that are no event of ours
    │   ├── UnknownSchema           a schema id that neither lock nor registry knows
    │   ├── WrongEventType          a known event on a topic that does not carry it
    │   ├── TenantMismatch          key, header and body name different tenants
    │   ├── InvalidEvent            a field breaks its declared type or bounds
    │   └── IncompatibleSchema      a change that old or new readers cannot follow
    ├── InputRejected               an input that can never be processed           permanent
    │   ├── TooLarge                over a documented limit
    │   └── Unreadable              a document that no text can be made of
    ├── Unavailable                 a model, a store or a broker is down           transient
    ├── ObjectError                 content in the object store
    │   ├── ObjectMissing           erased or never written                        permanent
    │   └── ObjectTampered          the digest does not match the reference        permanent
    ├── LogTruncated                a reader's position is no longer in the log    stops the reader
    ├── DeadlineExceeded            the time allowed has passed                    permanent
    ├── InputAbandoned              whoever waited for an input gave it up         permanent
    └── RequestFailed               a question ended with AnswerFailed             raised at the asker
        └── RequestRetracted        a question ended with AnswerRetracted

``transient`` errors are retried with backoff while intake pauses and are never dead-lettered; ``permanent`` ones are
dead-lettered at once; any other exception is tried ``max_attempts`` times and then dead-lettered.
"""

from typing import ClassVar, Literal

ErrorClass = Literal["transient", "permanent", "unknown", "fatal"]


class MillraceError(Exception):
    """Root of the tree.

    ``error_type`` is a short, bounded name for metrics and headers; ``error_class`` says what the pump does with it.
    """

    error_type: ClassVar[str] = "error"
    error_class: ClassVar[ErrorClass] = "unknown"


class ConfigurationError(MillraceError):
    """A setting or an installation is wrong; nothing will work until a person changes it."""

    error_type = "configuration"
    error_class = "permanent"


class StackNotFound(ConfigurationError):
    """No running stack where one was expected."""

    error_type = "stack_not_found"


class ContractError(MillraceError):
    """A record breaks the event contract."""

    error_type = "contract"
    error_class = "permanent"


class UndecodableRecord(ContractError):
    """Bytes that are no event of ours: wrong magic byte, truncated or malformed Avro."""

    error_type = "undecodable"


class UnknownSchema(ContractError):
    """A schema id that neither the lock nor the registry knows."""

    error_type = "unknown_schema"


class WrongEventType(ContractError):
    """A known event on a topic that does not carry it."""

    error_type = "wrong_event_type"


class TenantMismatch(ContractError):
    """Key, ``ce_tenant`` header and body do not name the same tenant."""

    error_type = "tenant_mismatch"


class InvalidEvent(ContractError):
    """A field breaks its declared type or bounds."""

    error_type = "invalid_event"


class IncompatibleSchema(ContractError):
    """A schema change that old or new readers could not follow."""

    error_type = "incompatible_schema"


class InputRejected(MillraceError):
    """An input that can never be processed, whatever is tried."""

    error_type = "rejected"
    error_class = "permanent"


class TooLarge(InputRejected):
    """An input over a documented limit."""

    error_type = "too_large"


class Unreadable(InputRejected):
    """A document that no text can be made of; `reason` is a bounded name, such as ``encrypted``."""

    error_type = "unreadable"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Unavailable(MillraceError):
    """A model, a store or a broker cannot be reached now; trying again later may help."""

    error_type = "unavailable"
    error_class = "transient"


class ObjectError(MillraceError):
    """Content in the object store cannot be used."""

    error_type = "object"
    error_class = "permanent"


class ObjectMissing(ObjectError):
    """The object was erased or never written."""

    error_type = "object_missing"


class ObjectTampered(ObjectError):
    """The object's digest does not match its reference."""

    error_type = "object_tampered"


class LogTruncated(MillraceError):
    """A reader's position is no longer in the log; it stops instead of skipping."""

    error_type = "log_truncated"
    error_class = "fatal"


class DeadlineExceeded(MillraceError):
    """The time allowed for a question has passed."""

    error_type = "deadline_exceeded"
    error_class = "permanent"


class InputAbandoned(MillraceError):
    """Whoever waited for an input has given it up; nobody would read what it leads to."""

    error_type = "cancelled"
    error_class = "permanent"


class RequestFailed(MillraceError):
    """A question ended with AnswerFailed.

    Parameters
    ----------
    error_type : str
        Bounded name of the cause, as it came in the frame.
    message : str
        What happened and what to do.
    retry_after_ms : int
        When trying again makes sense; 0 where it does not.
    """

    error_class = "permanent"

    def __init__(self, error_type: str, message: str, retry_after_ms: int = 0) -> None:
        super().__init__(message)
        self.reason = error_type
        self.retry_after_ms = retry_after_ms


class RequestRetracted(RequestFailed):
    """A question ended with AnswerRetracted: discard what was streamed."""


def classify(error: BaseException) -> ErrorClass:
    """Say what the pump does with an exception.

    Parameters
    ----------
    error : BaseException
        What a handler raised or returned.

    Returns
    -------
    {"transient", "permanent", "unknown", "fatal"}
        ``unknown`` for everything outside the tree, ``TimeoutError`` included: a timeout is transient only while the
        dependency's own probe fails too, and then the adapter raises Unavailable.
    """
    return error.error_class if isinstance(error, MillraceError) else "unknown"


def error_type(error: BaseException) -> str:
    """Bounded name of an exception for metrics and ``mr-error-type`` headers."""
    return error.error_type if isinstance(error, MillraceError) else "exception"
