"""``python -m infra deploy``: make servers that run elsewhere ready for the workers. Doing so again changes nothing.

It takes credentials that may do everything, and the workers then need none that may: topics, users and rules of Kafka,
schemas of the registry, roles of Weaviate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from confluent_kafka.admin import AdminClient

from infra.launch.broker import broker_connection
from infra.launch.elsewhere import stack_elsewhere
from infra.launch.home import prepare_home
from infra.launch.registry import register_contract
from infra.launch.rights import all_rights, every_spec
from infra.launch.stack import Stack
from infra.rights import ensure_users, grant
from infra.settings import Settings
from millrace.errors import ConfigurationError, Unavailable
from millrace.topics import CATALOGUE
from streams.admin import create_topics, plan_topics
from streams.stores.collection_names import collection_names


class Deployed(msgspec.Struct, frozen=True):
    """What is there now.

    Attributes
    ----------
    topics, schemas : int
        Topics of the catalogue and versions of schemas.
    users : tuple of str
        Principals of Kafka that have their password and their rules.
    roles : bool
        Whether the users of Weaviate have their roles.
    """

    topics: int
    schemas: int
    users: tuple[str, ...]
    roles: bool


def deploy(
    settings: Settings,
    *,
    users: Path | None = None,
    roles: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Deployed:
    """Create what is missing, and give everyone the rights of this release.

    Parameters
    ----------
    settings : Settings
        Where the servers are, and how an administrator logs in.
    users : Path, optional
        File with the password of each of Kafka's principals as JSON; without one, users and rules are left alone.
    roles : bool
        Whether Weaviate's users get their roles.
    progress : callable
        Receives a line at each step.

    Raises
    ------
    ConfigurationError
        No broker is named, something contradicts the contract, or a server refuses.
    Unavailable
        A server does not answer.
    """
    prepare_home(settings.home)
    passwords = _passwords(users) if users is not None else {}
    stack = stack_elsewhere(settings)
    if stack is None:
        raise ConfigurationError(
            "nothing to deploy to: set bootstrap to the brokers (and --profile kafka); `python -m infra up` starts and "
            "prepares servers on this machine"
        )
    n_topics = _create_topics(settings, stack)
    progress(f"{n_topics} topics at {stack.bootstrap}")
    _grant(settings, stack, passwords, progress)
    n_schemas = 0
    if stack.registry:
        found = register_contract(settings, stack.registry, stack.log_epoch, progress=progress)
        n_schemas = len(found.ids)
        progress(f"{n_schemas} schema versions at {stack.registry}")
    if roles:
        _give_roles(settings)
        progress(f"roles of Weaviate's users set at {settings.weaviate.url}")
    return Deployed(n_topics, n_schemas, tuple(sorted(passwords)), roles)


def _create_topics(settings: Settings, stack: Stack) -> int:
    """Create those of the catalogue, and those that only agents know: topics of their own, changelogs of tables."""
    from infra.worker import ensure_topics

    client = AdminClient(broker_connection(settings, stack.bootstrap).librdkafka())
    found = create_topics(client, plan_topics(CATALOGUE.values(), settings.partitions.model_dump()))
    ensure_topics(settings, stack, every_spec(settings))
    return len(found)


def _grant(settings: Settings, stack: Stack, passwords: Mapping[str, str], progress: Callable[[str], None]) -> None:
    if not passwords:
        return
    rights = all_rights(settings)
    if unknown := sorted(set(passwords) - set(rights)):
        raise ConfigurationError(
            f"principal {unknown[0]!r} has a password, but no rights are known for it; "
            f"known: {', '.join(sorted(rights))}"
        )
    admin = AdminClient(broker_connection(settings, stack.bootstrap).librdkafka())
    ensure_users(admin, passwords)
    n_changed = grant(admin, {user: rights[user] for user in passwords})
    progress(f"{len(passwords)} principals, {n_changed} of their rules changed")


def _give_roles(settings: Settings) -> None:
    from weaviate.exceptions import WeaviateBaseError

    from infra.servers.weaviate.access import grant_roles

    chosen = settings.weaviate
    if not (chosen.url and chosen.grpc):
        raise ConfigurationError("roles were asked for, but no Weaviate is named; set weaviate.url and weaviate.grpc")
    names = collection_names(chosen.collection)
    try:
        grant_roles(chosen.url, chosen.grpc, chosen.api_key.get_secret_value(), names)
    except WeaviateBaseError as error:
        raise Unavailable(
            f"Weaviate at {chosen.url} did not take its users' roles ({error}); weaviate.api_key must be a root user's"
        ) from error


def _passwords(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"the passwords of Kafka's users in {path} cannot be read ({error}); `python -m infra secrets` writes them"
        ) from error
