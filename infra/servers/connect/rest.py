"""Kafka Connect's REST API: create, pause, restart and delete connectors, and read how they are."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from millrace.errors import ConfigurationError, InputRejected, Unavailable

_POLL_S: Final = 0.1
_REASON_CHARS: Final = 1500


@dataclass(frozen=True)
class ConnectorState:
    """How a connector and its tasks are.

    Attributes
    ----------
    connector : str
        ``RUNNING``, ``PAUSED``, ``STOPPED``, ``FAILED``, ``UNASSIGNED``, ``RESTARTING``.
    tasks : tuple of str
        The same of each task.
    reason : str
        Beginning of the failure's stack trace, of the connector or of its first failed task; empty without one.
    """

    connector: str
    tasks: tuple[str, ...]
    reason: str = ""

    @property
    def running(self) -> bool:
        """Whether the connector and all its tasks run."""
        return self.connector == "RUNNING" and bool(self.tasks) and set(self.tasks) == {"RUNNING"}

    @property
    def failed(self) -> bool:
        """Whether something failed and waits for a restart."""
        return "FAILED" in {self.connector, *self.tasks}


class ConnectRest:
    """A client of one Connect worker.

    Parameters
    ----------
    host, port : str and int
        Where the worker listens.
    timeout_s : float
        Limit of each request, in seconds.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float = 30.0) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    @classmethod
    def at(cls, url: str) -> ConnectRest:
        """Client of the worker at a URL, ``http://host:8083``: without encryption, path or login.

        Raises
        ------
        ConfigurationError
            The URL is none, or asks for more.
        """
        try:
            parts = urlsplit(url)
            host, port, plain = parts.hostname, parts.port, parts.scheme == "http" and "@" not in parts.netloc
        except ValueError:
            host, port, plain = None, None, False
        if host is None or port is None or not plain or parts.path.strip("/"):
            found = "it names a user" if "@" in url else f"found {url!r}"
            raise ConfigurationError(
                f"capture.connect_url is no address of Kafka Connect that can be used ({found}); write "
                "http://host:8083: only http is supported, without a login, so let Connect listen where others cannot "
                "reach it"
            )
        return cls(host, port)

    def connectors(self) -> Sequence[str]:
        """Names of all connectors."""
        found: list[str] = self._ask("GET", "/connectors")
        return found

    def put(self, name: str, config: Mapping[str, str]) -> None:
        """Create a connector, or give it another configuration.

        Raises
        ------
        ConfigurationError
            Connect refuses the configuration; the message says which property and why.
        Unavailable
            Connect does not answer, or its worker is just joining its group.
        """
        self._ask("PUT", f"{_path(name)}/config", dict(config))

    def state(self, name: str) -> ConnectorState | None:
        """How a connector is; None where there is none."""
        found = self._ask("GET", f"{_path(name)}/status", absent=True)
        if found is None:
            return None
        parts = [found["connector"], *found["tasks"]]
        reason = next((part["trace"] for part in parts if part.get("trace")), "")
        return ConnectorState(parts[0]["state"], tuple(task["state"] for task in parts[1:]), reason[:_REASON_CHARS])

    def wait_running(self, name: str, timeout_s: float = 60.0) -> None:
        """Wait until a connector and its tasks run.

        Raises
        ------
        InputRejected
            It failed; the message carries why.
        Unavailable
            It does not run in time.
        """
        deadline = time.monotonic() + timeout_s
        while not ((found := self.state(name)) and found.running):
            if found and found.failed:
                raise InputRejected(f"connector {name!r} failed: {found.reason}")
            if time.monotonic() > deadline:
                how = "unknown" if found is None else f"{found.connector}, its tasks {', '.join(found.tasks) or 'none'}"
                raise Unavailable(f"connector {name!r} does not run after {timeout_s:g} s: it is {how}")
            time.sleep(_POLL_S)

    def offsets(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Source positions that Connect has written down for a connector; empty before the first."""
        found = self._ask("GET", f"{_path(name)}/offsets", absent=True) or {"offsets": []}
        return [each["offset"] for each in found["offsets"] if each["offset"]]

    def pause(self, name: str) -> None:
        """Let a connector rest; it keeps its tasks and connections."""
        self._ask("PUT", f"{_path(name)}/pause")

    def resume(self, name: str) -> None:
        """Let a paused connector go on."""
        self._ask("PUT", f"{_path(name)}/resume")

    def restart(self, name: str) -> None:
        """Start a connector and those of its tasks that failed anew."""
        self._ask("POST", f"{_path(name)}/restart?includeTasks=true&onlyFailed=true")

    def delete(self, name: str) -> None:
        """Remove a connector; one that is not there is ignored. Its positions stay, as does the database's slot."""
        self._ask("DELETE", _path(name), absent=True)

    def _ask(self, method: str, path: str, body: Any = None, *, absent: bool = False) -> Any:
        """Answer of a request as parsed JSON; with `absent`, None where the API knows no such thing."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"Kafka Connect does not answer at {self._host}:{self._port}: {error}") from error
        finally:
            connection.close()
        if answer.status == http.client.NOT_FOUND and absent:
            return None
        if answer.status == http.client.BAD_REQUEST:
            raise ConfigurationError(f"Kafka Connect refuses {method} {path}: {_message(text)}")
        if answer.status >= http.client.BAD_REQUEST:
            raise Unavailable(f"Kafka Connect answers {method} {path} with {answer.status}: {_message(text)}")
        return json.loads(text) if text else None


def _path(name: str) -> str:
    return f"/connectors/{quote(name, safe='')}"


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:_REASON_CHARS].decode(errors="replace")
