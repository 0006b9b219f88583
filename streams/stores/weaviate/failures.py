"""What a failed call or a failed row means, in terms of the error tree.

Weaviate names most of its failures in words only; the words are those of 1.39, and what they do not cover stays as it
came: unknown, tried again by the pump a few times, then dead-lettered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from grpc import StatusCode
from grpc.aio import AioRpcError
from weaviate.exceptions import InsufficientPermissionsError, UnexpectedStatusCodeError, WeaviateTimeoutError

from millrace.errors import InputRejected, MillraceError, Unavailable
from millrace.rows import ChunkRow

Meaning = Literal["missing", "transient", "poison", "unknown"]

_MISSING: Final = ("tenant not found", "could not find class", "not found in schema", "class not found")
# A collection is in the schema a moment before it can be searched.
_HALF_MADE: Final = "non-existing index"
# What passes by itself or by an operator's hand: memory and disk watermarks, an election, a shutdown, a tenant on ice.
_TRANSIENT: Final = (
    _HALF_MADE,
    "read-only",
    "readonly",
    "not enough memory",
    "memory pressure",
    "no space left",
    "leader not found",
    "deadline exceeded",
    "context canceled",
    "shutting down",
    "shut down",
    "connection refused",
    "too many requests",
    "tenant not active",
)
_POISON: Final = ("vector with length", "vector lengths", "vector dimensions", "invalid uuid", "' on class '")


class Refused(Unavailable):
    """The server does not let this key in, or not do that; a person has to change it, and nothing is lost till then."""


class Missing(MillraceError):
    """The collection or the tenant does not exist, so there are no rows."""


def meaning_of(message: str) -> Meaning:
    """Class of a failure by the server's words."""
    said = message.lower()
    for meaning, signs in (("missing", _MISSING), ("poison", _POISON), ("transient", _TRANSIENT)):
        if any(sign in said for sign in signs):
            return meaning  # type: ignore[return-value]  # the literals above
    return "unknown"


def is_half_made(error: BaseException) -> bool:
    """Whether the collection is being created, or loaded, at this moment."""
    return _HALF_MADE in str(error)


def is_refusal(error: BaseException) -> bool:
    """Whether the server refused the key or what it may do."""
    if isinstance(error, InsufficientPermissionsError):
        return True
    if isinstance(error, UnexpectedStatusCodeError) and error.status_code in {401, 403}:
        return True
    code = _grpc_code(error)
    return code in {StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED}


def is_absence(error: BaseException) -> bool:
    """Whether the server could not be reached or gave up, as far as the error itself tells."""
    return _grpc_code(error) in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}


def is_timeout(error: BaseException) -> bool:
    """Whether the client gave up waiting, whatever the server did."""
    return isinstance(error, WeaviateTimeoutError) or _grpc_code(error) is StatusCode.DEADLINE_EXCEEDED


def rows_error(rows: Sequence[ChunkRow], failed: Mapping[int, str], address: str) -> MillraceError:
    """Error for rows of a batch that the server did not take, the worst of them first.

    Parameters
    ----------
    rows : sequence of ChunkRow
        What was sent.
    failed : mapping of int to str
        By place in `rows`, what the server said.
    address : str
        Where the server is, for the message.
    """
    meanings = {place: meaning_of(message) for place, message in failed.items()}
    for meaning, kind in (("poison", InputRejected), ("unknown", MillraceError)):
        places = [place for place, found in meanings.items() if found == meaning]
        if places:
            row = rows[places[0]]
            return kind(
                f"Weaviate at {address} refused {len(places)} of {len(rows)} rows, first chunk {row.chunk_id} of "
                f"{row.document!r}: {failed[places[0]][:300]}"
            )
    place = next(iter(failed))
    return Unavailable(
        f"Weaviate at {address} could not take {len(failed)} of {len(rows)} rows now, first chunk "
        f"{rows[place].chunk_id}: {failed[place][:300]}; look at its memory, its disk and its log"
    )


def _grpc_code(error: BaseException) -> StatusCode | None:
    """Status of the gRPC call that led to the error; the client keeps it only in what it was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, AioRpcError):
            code: StatusCode = seen.code()
            return code
        seen = seen.__cause__ or seen.__context__
    return None
