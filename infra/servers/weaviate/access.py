"""Who may do what on the server: a key each for the launcher, for workers that write, for processes that only ask."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec

from infra.launch.home import write_private
from millrace.errors import ConfigurationError

ADMIN: Final = "millrace-admin"
WORKER: Final = "millrace-worker"
READER: Final = "millrace-reader"
_CALL_S: Final = 10.0


class Keys(msgspec.Struct, frozen=True):
    """API keys of one server; shown by no one, kept in a private file.

    Attributes
    ----------
    admin : str
        May do everything; for the launcher alone.
    worker : str
        Reads and writes rows and creates collections and tenants, within Millrace's own collections.
    reader : str
        Reads rows of Millrace's own collections.
    cluster : str
        Password of the port that nodes of a cluster use among themselves.
    """

    admin: str
    worker: str
    reader: str
    cluster: str

    @classmethod
    def random(cls) -> Self:
        """New keys, 256 bits each."""
        return cls(*(secrets.token_urlsafe(32) for _ in cls.__struct_fields__))

    @classmethod
    def kept_in(cls, path: Path) -> Self:
        """Keys of a file that its owner alone can read; made when there is none.

        Raises
        ------
        ConfigurationError
            If the file holds no keys.
        """
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            keys = cls.random()
            write_private(path, msgspec.json.encode(keys).decode())
            return keys
        except msgspec.DecodeError as error:
            raise ConfigurationError(
                f"{path} holds no keys of a Weaviate server ({error}); remove it, and new ones are made"
            ) from error

    def by_user(self) -> Mapping[str, str]:
        """API keys by the user that they stand for."""
        return MappingProxyType({ADMIN: self.admin, WORKER: self.worker, READER: self.reader})

    def __repr__(self) -> str:
        return "Keys(...)"


def grant_roles(url: str, grpc: str, admin_key: str, collections: Sequence[str]) -> None:
    """Give the worker's and the reader's user what they need, and take away what is more; may be repeated.

    Parameters
    ----------
    url, grpc : str
        Where the server is: ``http://host:port`` and ``host:port``.
    admin_key : str
        Key of a user who may do everything.
    collections : sequence of str
        Names of Millrace's collections.
    """
    import weaviate  # here and below: its import takes a second, and few commands start a server
    from weaviate.classes.init import AdditionalConfig, Auth, Timeout

    rest, rpc = urlsplit(url), urlsplit(f"//{grpc}")
    with ExitStack() as stack:
        client = stack.enter_context(
            weaviate.connect_to_custom(
                http_host=rest.hostname or "",
                http_port=rest.port or 0,
                http_secure=False,
                grpc_host=rpc.hostname or "",
                grpc_port=rpc.port or 0,
                grpc_secure=False,
                auth_credentials=Auth.api_key(admin_key),
                additional_config=AdditionalConfig(timeout=Timeout(query=_CALL_S, insert=_CALL_S, init=_CALL_S)),
                skip_init_checks=True,
            )
        )
        for user, permissions in _permissions(collections).items():
            if client.roles.exists(role_name=user):
                client.roles.add_permissions(role_name=user, permissions=permissions)
            else:
                client.roles.create(role_name=user, permissions=permissions)
            wanted = {right for each in permissions for right, _ in _rights(each)}
            role = client.roles.get(role_name=user)
            found = [pair for each in (role.permissions if role else ()) for pair in _rights(each)]
            if stale := [permission for right, permission in found if right not in wanted]:
                client.roles.remove_permissions(role_name=user, permissions=stale)
            client.users.db.assign_roles(user_id=user, role_names=user)
            if others := [name for name in client.users.db.get_assigned_roles(user_id=user) if name != user]:
                client.users.db.revoke_roles(user_id=user, role_names=others)


def _rights(permission: Any) -> Iterator[tuple[object, Any]]:
    """Each action of a permission: what it may be compared by, and a permission for it alone."""
    of_what = permission.model_dump(exclude={"actions"})
    for action in permission.actions:
        yield (str(action.value), *sorted(of_what.items())), permission.model_copy(update={"actions": {action}})


def _permissions(collections: Sequence[str]) -> Mapping[str, list[Any]]:
    from weaviate.classes.rbac import Permissions

    names = list(collections)
    reads = [
        *Permissions.collections(collection=names, read_config=True),
        *Permissions.tenants(collection=names, read=True),
        *Permissions.data(collection=names, read=True),
    ]
    writes = [
        *Permissions.collections(collection=names, create_collection=True),
        *Permissions.tenants(collection=names, create=True, delete=True),
        *Permissions.data(collection=names, create=True, update=True, delete=True),
    ]
    return {WORKER: [*reads, *writes], READER: reads}
