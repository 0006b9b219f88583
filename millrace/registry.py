"""Speak to a schema registry in Confluent's protocol (Confluent's own, Apicurio's and Karapace's do).

Reading and looking up is all that apps and workers do. Registering is a step of deployment: `infra.registry`.
"""

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from millrace.errors import ConfigurationError, Unavailable
from millrace.event import Event
from millrace.topics import Topic

TIMEOUT_S: Final = 2.0
_CONTENT: Final = "application/vnd.schemaregistry.v1+json"
_MAX_BYTES: Final = 16 * 1024 * 1024
_QUIET_S: Final = 1.0
_REMEDY: Final = "is it running? see `python -m infra status`, or set MILLRACE_REGISTRY__URL"
_NOT_ALLOWED: Final = (int(HTTPStatus.UNAUTHORIZED), int(HTTPStatus.FORBIDDEN))
_MAX_ID: Final = 0x7FFFFFFF
"""Registries number with signed integers of 32 bits; a frame has room for more."""
# Subject, version or schema is not there; schema is not under the subject.
_NOT_FOUND: Final = (40401, 40402, 40403)


class RegistryAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Where a registry is and how to log in.

    Attributes
    ----------
    url : str
        Where its paths (``/subjects``, ``/schemas``) begin.
    username, password : str
        For HTTP basic authentication; empty without it.
    token : str
        For bearer authentication; wins over user name and password.
    ca_location : str
        Certificates that sign the registry's; empty for the system's.
    timeout_s : float
        How long it may take to answer, in seconds.
    """

    url: str
    username: str = ""
    password: str = ""
    token: str = ""
    ca_location: str = ""
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = TIMEOUT_S

    def __repr__(self) -> str:
        """Without the credentials."""
        return f"RegistryAccess({self.url})"


class Refused(ConfigurationError):
    """The registry answered, and said no.

    Parameters
    ----------
    code : int
        Confluent's error code, or the HTTP status where there is none.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Registry:
    """A registry behind HTTP. Keeps nothing; `millrace.registered` does.

    Raises
    ------
    ConfigurationError
        If the URL is none of HTTP.
    """

    def __init__(self, access: RegistryAccess) -> None:
        parts = urlsplit(access.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError(
                f"setting registry.url is {access.url!r}; expected http:// or https://, a host, and the path at which "
                "/subjects begins"
            )
        self.access = access
        self._headers = {"Accept": f"{_CONTENT}, application/json", "Content-Type": _CONTENT}
        if access.token:
            self._headers["Authorization"] = f"Bearer {access.token}"
        elif access.username:
            pair = base64.b64encode(f"{access.username}:{access.password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"
        secure = parts.scheme == "https"
        context = ssl.create_default_context(cafile=access.ca_location or None) if secure else None
        handlers: list[Any] = [urllib.request.HTTPSHandler(context=context)] if context else []
        # Whoever may follow a redirect may hand the credentials to another host.
        self._opener = urllib.request.build_opener(_NoRedirect, *handlers)
        self._down_until_s = 0.0

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Answer to a request, decoded from JSON.

        Parameters
        ----------
        method : str
            HTTP's.
        path : str
            Below the URL, with a leading slash.
        body : object, optional
            Sent as JSON.

        Raises
        ------
        Refused
            It said no; the message carries its own words.
        ConfigurationError
            What answers is no registry.
        Unavailable
            It does not answer, or only with an error of its own. For a second after that nothing is sent, so that
            many callers do not wait for it one after the other.
        """
        if time.monotonic() < self._down_until_s:
            raise self._unavailable("did not answer a moment ago")
        data = None if body is None else json.dumps(body).encode()
        url = self.access.url.rstrip("/") + path
        request = urllib.request.Request(url, data, self._headers, method=method)  # noqa: S310 - checked above
        try:
            with self._opener.open(request, timeout=self.access.timeout_s) as answer:
                return self._decoded(answer.read(_MAX_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(method, path, error.code, error.read(_MAX_BYTES)) from error
        except OSError as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise self._down(f"does not answer ({reason})") from error

    def schema(self, number: int) -> dict[str, Any] | None:
        """Avro schema of an id; None when the registry does not know it. Errors as of `request`."""
        if number > _MAX_ID:
            return None
        try:
            answer = self.request("GET", f"/schemas/ids/{number}")
            found: Any = json.loads(answer["schema"])
        except Refused as error:
            # Whatever else it has against an id stays so: a record that carries it must not be tried for ever.
            if error.code in _NOT_ALLOWED:
                raise
            return None
        except (KeyError, TypeError, ValueError) as error:
            raise self._foreign(f"gave no schema for id {number}") from error
        return found if isinstance(found, dict) and found.get("type") == "record" else None

    def lookup(self, subject: str, schema: dict[str, Any]) -> int | None:
        """Id of a schema under a subject; None when it was never registered there. Errors as of `request`."""
        try:
            answer = self.request("POST", f"/subjects/{quote(subject, safe='')}", {"schema": text_of(schema)})
            return int(answer["id"])
        except Refused as error:
            if error.code in _NOT_FOUND:
                return None
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise self._foreign(f"gave no id for subject {subject!r}") from error

    def _decoded(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError as error:
            raise self._foreign("did not answer in JSON") from error

    def _refused(self, method: str, path: str, status: int, content: bytes) -> Exception:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return self._down(f"answered {method} {path} with HTTP {status}")
        if status in _NOT_ALLOWED:
            return Refused(
                status,
                f"the schema registry at {self.access.url} does not allow {method} {path} (HTTP {status}); set "
                "registry.token, or registry.username and registry.password",
            )
        try:
            answer = json.loads(content)
            code, message = int(answer["error_code"]), str(answer["message"])
        except (ValueError, KeyError, TypeError):
            return self._foreign(f"answered {method} {path} with HTTP {status} and no error code")
        return Refused(code, f"the schema registry at {self.access.url} refused {method} {path}: {message[:2000]}")

    def _down(self, what: str) -> Unavailable:
        self._down_until_s = time.monotonic() + _QUIET_S
        return self._unavailable(what)

    def _unavailable(self, what: str) -> Unavailable:
        return Unavailable(f"the schema registry at {self.access.url} {what}; {_REMEDY}")

    def _foreign(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self.access.url} {what}, so it is no schema registry in Confluent's protocol; set registry.url to where "
            "/subjects begins (for Apicurio, .../apis/ccompat/v7)"
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: it is an error then."""


def text_of(schema: dict[str, Any]) -> str:
    """Text that a schema is registered and looked up with; a registry compares texts, white space included."""
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


def subject_of(topic: Topic, event: type[Event]) -> str:
    """Subject of an event on a topic: ``<topic>-value``, and ``<topic>-<event>`` where the topic carries several.

    Under one subject all schemas are versions of each other, which different events are not.
    """
    return f"{topic.name}-value" if len(topic.events) == 1 else f"{topic.name}-{event.type_name()}"
