"""The child process: ``python -m streams.parsing.child LIMITS`` reads documents from its input, one after the other.

It gives up what a parser has no use for before it sees the first document: memory, files to write, connections and
other processes. Times are bounded from outside as well; the alarm in here is for the case that the worker dies.
"""

from __future__ import annotations

import math
import resource
import signal
import sys
from contextlib import suppress
from io import BufferedReader, BufferedWriter
from typing import Any, Final

import msgspec

from millrace.confined.rights import give_up_rights, private_output
from streams.parsing.frames import LOADED, READY, REPLY, REQUEST, Reply
from streams.parsing.limits import ParserLimits, Refused
from streams.parsing.reading import load, read

_GRACE_S: Final = 5
_RECURSION: Final = 4_000


def main(arguments: list[str]) -> int:
    """Serve until the input ends."""
    limits = msgspec.json.decode(arguments[0], type=ParserLimits)
    replies = private_output()
    sys.setrecursionlimit(_RECURSION)
    give_up_rights(limits.memory_bytes)
    replies.write(READY)
    replies.flush()
    serve(sys.stdin.buffer, replies, limits)
    return 0


def serve(requests: BufferedReader | Any, replies: BufferedWriter | Any, limits: ParserLimits) -> None:
    """Answer documents one by one; ends after one that used up the memory."""
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        n_type, n_bytes = REQUEST.unpack(head)
        _allow_time(limits)
        media_type = requests.read(n_type).decode("utf-8", "replace")
        data = requests.read(n_bytes)
        with suppress(Exception):  # reading meets the same, and answers it
            load(media_type)
        replies.write(LOADED)
        replies.flush()
        reply = _answer(data, media_type, limits)
        del data
        signal.alarm(0)
        body = _encoded(reply)
        replies.write(REPLY.pack(len(body)))
        replies.write(body)
        replies.flush()
        del body
        if reply.last:
            return


def _allow_time(limits: ParserLimits) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime) + limits.cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
    signal.alarm(math.ceil(limits.wall_s) + _GRACE_S)


def _encoded(reply: Reply) -> bytes:
    try:
        return msgspec.msgpack.encode(reply)
    except UnicodeEncodeError:
        return msgspec.msgpack.encode(
            Reply(reason="broken", message="the text has characters that are none; write it anew")
        )


def _answer(data: bytes, media_type: str, limits: ParserLimits) -> Reply:
    try:
        return Reply(parsed=read(data, media_type, limits))
    except Refused as refused:
        return Reply(reason=refused.reason, message=refused.message)
    except MemoryError:
        message = f"parsing took more than {limits.memory_bytes} bytes of memory; split the document"
        return Reply(reason="too_much_memory", message=message, last=True)
    except RecursionError:
        return Reply(reason="too_deep", message="the document is nested too deep; simplify it", last=True)
    except Exception as error:  # noqa: BLE001 - a parser may fail in any way; only its kind is told, never content
        return Reply(reason="broken", message=f"the document cannot be parsed: {type(error).__name__}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
