"""Passwords and the settings that make Kafka ask for them: SCRAM for clients and brokers, PLAIN between controllers.

A controller keeps the SCRAM users in the log that it guards, so it cannot ask for them before it runs; for its own
listener it reads one password from the node's properties.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from infra.launch.home import write_private
from millrace.errors import ConfigurationError

MECHANISM: Final = "SCRAM-SHA-512"
PROTOCOL: Final = "SASL_PLAINTEXT"
BROKER: Final = "broker"
"""The nodes among themselves."""
ADMIN: Final = "admin"
"""Creates topics, users and rights."""
_USER: Final = re.compile(r"[a-z][a-z0-9-]*")
_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"
_PLAIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"


def client_properties(credentials: Mapping[str, str]) -> Mapping[str, str]:
    """How a Java client logs in, from what `Secrets.credentials` gives; holds the password in clear."""
    user, password = credentials["sasl_username"], credentials["sasl_password"]
    return {
        "security.protocol": credentials["security_protocol"],
        "sasl.mechanism": credentials["sasl_mechanism"],
        "sasl.jaas.config": f'{_SCRAM} required username="{user}" password="{password}";',
    }


class Secrets:
    """Passwords of a cluster's users, each in a file of its own that only its owner may read.

    Parameters
    ----------
    folder : Path
        Holds the files; created if missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, user: str) -> Path:
        """File of a user's credentials, in the names of `millrace.connection.Connection.security`.

        Raises
        ------
        ConfigurationError
            The name is none of a user, and might lead out of the folder.
        """
        if not _USER.fullmatch(user):
            raise ConfigurationError(f"{user!r} is no user of Kafka's; use small letters, digits and '-' alone")
        return self._folder / f"{user}.json"

    def credentials(self, user: str) -> dict[str, str]:
        """How a user logs in; a password is drawn when it is asked for the first time.

        Raises
        ------
        ConfigurationError
            The name is none of a user, or the file is damaged.
        """
        path = self.path(user)
        try:
            found: dict[str, str] = json.loads(path.read_text())
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = {
                "security_protocol": PROTOCOL,
                "sasl_mechanism": MECHANISM,
                "sasl_username": user,
                "sasl_password": secrets.token_urlsafe(24),
            }
            write_private(path, json.dumps(found, indent=1) + "\n")
        except ValueError as error:
            raise ConfigurationError(
                f"{path} cannot be read ({error}); remove it and the folder of Kafka's data, or restore it"
            ) from error
        return found

    def password(self, user: str) -> str:
        """Password of a user; errors as of `credentials`."""
        return self.credentials(user)["sasl_password"]

    def scram(self, users: Iterable[str]) -> list[str]:
        """Arguments of Kafka's storage tool that create users."""
        return [
            argument
            for user in users
            for argument in ("--add-scram", f"{MECHANISM}=[name={user},password={self.password(user)}]")
        ]

    def properties(self) -> Mapping[str, str]:
        """Server properties: who logs in how, and that nothing is allowed unless a rule says so."""
        broker = self.password(BROKER)
        return {
            "listener.security.protocol.map": f"CLIENTS:{PROTOCOL},CONTROLLER:{PROTOCOL}",
            "sasl.enabled.mechanisms": MECHANISM,
            "sasl.mechanism.inter.broker.protocol": MECHANISM,
            "listener.name.clients.scram-sha-512.sasl.jaas.config": (
                f'{_SCRAM} required username="{BROKER}" password="{broker}";'
            ),
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": (
                f'{_PLAIN} required username="{BROKER}" password="{broker}" user_{BROKER}="{broker}";'
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{BROKER};User:{ADMIN}",
            "allow.everyone.if.no.acl.found": "false",
        }
