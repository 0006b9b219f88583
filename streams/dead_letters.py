"""Write what could not be processed: ``<topic>.dlq`` gets its bytes, and ``mr-error-*`` headers say why.

The partition is that of the source record, so that one key's letters stay in order. Reading letters and putting them
back is `millrace.dead_letters`.
"""

from typing import Any

from millrace.codec import ConsumedRecord, Record
from millrace.dead_letters import PREFIX, SUFFIX
from millrace.errors import TooLarge, error_type
from millrace.published import describe

_MESSAGE_CHARS = 500


def letter_of(record: ConsumedRecord, error: BaseException, *, agent: str, stage: str = "", attempt: int = 0) -> Record:
    """Build the dead letter of a consumed record.

    Parameters
    ----------
    record
        The original; its key, value and headers go on unchanged, absent key and value included.
    error
        Why it failed. An unknown exception's text may quote content, so only its type is named.
    stage
        Stage of a fused run that failed.
    attempt
        How many attempts were made.
    """
    trace = dict(record.headers).get("traceparent", b"").split(b"-")
    notes = {
        "type": error_type(error),
        "stage": stage or agent,
        "attempt": str(attempt),
        "agent": agent,
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "trace-id": _text(trace[1]) if len(trace) == 4 else "",
        "message": describe(error, agent)[:_MESSAGE_CHARS],
    }
    headers = [*record.headers, *((f"{PREFIX}{name}", text.encode()) for name, text in notes.items())]
    # A record may lack key or value; that is often why it is here.
    key: Any = record.key
    value: Any = record.value
    return Record(topic=f"{record.topic}{SUFFIX}", key=key, value=value, headers=headers, partition=record.partition)


def why_held(letter: Record, failure: BaseException) -> str:
    """Say why a letter cannot be written, and what to do: until it is, the offset of its record is held."""
    if isinstance(failure, TooLarge):
        return (
            f"{failure}; raise max.message.bytes of {letter.topic} to 64 kB above that of the source topic, then the "
            "letter is written by itself"
        )
    return str(failure) or repr(failure)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
