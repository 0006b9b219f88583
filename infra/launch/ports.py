"""Free ports on loopback."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Final

HOST: Final = "127.0.0.1"


def free_ports(n: int) -> list[int]:
    """Choose `n` different ports that nobody listens on at this moment.

    Another process may take one before it is used, so a caller must be able to try again.
    """
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
