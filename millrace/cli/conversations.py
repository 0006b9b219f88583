"""How far the answers of each conversation had read, kept between commands, so that the next one does not go back."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from millrace.connection import Connection

MOST: Final = 256


class _Kept(msgspec.Struct):
    """What the file holds: watermarks of one life of the log, the newest conversation last."""

    log_epoch: str = ""
    watermarks: dict[str, str] = {}


class Conversations:
    """Last watermark of each conversation, in a private file of the stack's home folder; bounded.

    A stack elsewhere has no such folder here, and nothing is kept; then `--watermark` carries it on.

    Parameters
    ----------
    connection : Connection
        The stack. Watermarks of another life of its log are forgotten.
    """

    def __init__(self, connection: Connection) -> None:
        self._path = Path(connection.home) / "run" / "conversations.json" if connection.home else None
        self._log_epoch = connection.log_epoch

    def last(self, tenant: str, conversation: str) -> str:
        """Watermark of the conversation's last answer; empty when none is known."""
        return self._read().watermarks.get(_name(tenant, conversation), "")

    def note(self, tenant: str, conversation: str, watermark: str) -> None:
        """Keep the watermark of an answer; where the folder cannot be written, nothing is kept."""
        if self._path is None or not watermark:
            return
        kept = self._read()
        kept.watermarks.pop(_name(tenant, conversation), None)
        kept.watermarks[_name(tenant, conversation)] = watermark
        kept.watermarks = dict(list(kept.watermarks.items())[-MOST:])
        partial = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        try:
            self._path.parent.mkdir(exist_ok=True, mode=0o700)
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.encode(kept))
            partial.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def _read(self) -> _Kept:
        fresh = _Kept(self._log_epoch)
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept) if self._path is not None else fresh
        except (OSError, msgspec.MsgspecError):  # missing, or damaged: the next answer starts it anew
            return fresh
        return kept if kept.log_epoch == self._log_epoch else fresh


def _name(tenant: str, conversation: str) -> str:
    return msgspec.json.encode([tenant, conversation]).decode()
