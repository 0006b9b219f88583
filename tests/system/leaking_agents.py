"""An agent that tells a secret wherever it can: see `tests.system.test_secrets`."""

import logging
import os
import threading
import warnings
from typing import Annotated, ClassVar

from millrace import Event, Topic, agent
from millrace.errors import InputRejected
from millrace.keys import key

log = logging.getLogger(__name__)


class SecretGiven(Event, frozen=True, kw_only=True):
    """Asks for a secret to be told."""

    namespace: ClassVar[str] = "test.leak"

    tenant: Annotated[str, "Tenant."]
    how: Annotated[str, "In which way."]


def _key(event: SecretGiven) -> str:
    return key(event.tenant, "x", event.how)


GIVEN = Topic(name="test.leak.given.v1", events=(SecretGiven,), key=_key, group="leak")
HOW = ("logged", "url", "header", "warned", "threaded", "unknown", "chained", "rejected")
SECRETS = (
    "MILLRACE_TRITON__KEY",
    "MILLRACE_KAFKA__SASL_PASSWORD",
    "MILLRACE_TELEMETRY__HEADERS",
    "MILLRACE_CAPTURE__DATABASE_URL",
)


def _fail(secret: str) -> None:
    raise OSError(f"cannot reach the server with {secret}")


@agent(source=GIVEN, max_attempts=1)
def leak(event: SecretGiven) -> None:
    """Tell all secrets of the environment. Delivery: at least once."""
    for secret in (os.environ[name] for name in SECRETS):
        match event.how:
            case "logged":
                log.info("the settings are %r", {"value": secret, "all": dict(os.environ)})
            case "url":
                log.info("connecting to https://millrace:%s@db.example.org/x", secret)
            case "header":
                log.info("headers: %s", [("authorization", f"Bearer {secret}"), ("x-api-key", secret)])
            case "warned":
                warnings.warn(f"the key {secret} is old", stacklevel=1)
            case "threaded":
                thread = threading.Thread(target=_fail, args=(secret,))
                thread.start()
                thread.join()
    _refuse(event.how, " ".join(os.environ[name] for name in SECRETS))


def _refuse(how: str, told: str) -> None:
    if how == "unknown":
        _fail(told)
    if how == "chained":
        try:
            _fail(told)
        except OSError as error:
            raise ValueError(f"again: {told}") from error
    if how == "rejected":
        raise InputRejected(f"it was signed with {told}; sign it anew")
