"""Who may do what on the log: a principal for each thing that is deployed, and nothing that it does not need.

Kafka denies what no rule allows. It knows topics and groups, but neither partitions nor tenants: who may read the reply
topic reads all replies in it, so apps that must not see each other's get reply topics of their own (policy
``query.reply_topics``), or come through the gateway.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from millrace.agent import AgentSpec
from millrace.errors import Unavailable
from millrace.positions import READER_GROUP
from millrace.topics import (
    ACL_CHANGED,
    ANSWER_PRODUCED,
    CATALOGUE,
    DOCUMENT_INDEXED,
    DOCUMENT_SETTLED,
    FEEDBACK_GIVEN,
    INTERACTION_OBSERVED,
    MAINTENANCE_DUE,
    QUERY_CANCELLED,
    QUERY_RECEIVED,
    REPLY,
    REVIEW_DECISION_MADE,
    SESSION_DUE,
    SOURCE_CHANGED,
    STATISTICS_COMPUTED,
    Topic,
)

APP: Final = "app"
GATEWAY: Final = "gateway"
OPERATOR: Final = "operator"
CONNECT: Final = "connect"
CONNECT_GROUP: Final = "millrace.connect"
"""Group of the workers of Kafka Connect, and prefix of their topics."""
_ITERATIONS: Final = 8192
_TIMEOUT_S: Final = 30.0
_VISIBILITY: Final = (DOCUMENT_INDEXED, DOCUMENT_SETTLED, ACL_CHANGED, STATISTICS_COMPUTED)


@dataclass(frozen=True)
class Rights:
    """What a principal may do; reading or writing a topic includes seeing that it is there.

    Attributes
    ----------
    reads, writes, sees, creates : frozenset of str
        Topic names.
    groups : frozenset of str
        Consumer groups that it may join.
    sees_settings : bool
        Whether it may look at how the topics that it reads are kept.
    sees_groups : str
        Prefix of the groups whose positions it may look at; empty for none.
    """

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    sees: frozenset[str] = frozenset()
    creates: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    sees_settings: bool = False
    sees_groups: str = ""

    def bindings(self, principal: str) -> set[AclBinding]:
        """The same as Kafka's rules."""
        topics = (
            (self.reads, AclOperation.READ),
            (self.writes, AclOperation.WRITE),
            (self.sees, AclOperation.DESCRIBE),
            (self.creates, AclOperation.CREATE),
        )
        found = {
            _binding(principal, ResourceType.TOPIC, name, operation) for names, operation in topics for name in names
        }
        if self.sees_settings:
            operation = AclOperation.DESCRIBE_CONFIGS
            found |= {_binding(principal, ResourceType.TOPIC, name, operation) for name in self.reads}
        found |= {_binding(principal, ResourceType.GROUP, name, AclOperation.READ) for name in self.groups}
        if self.sees_groups:
            found.add(
                _binding(
                    principal,
                    ResourceType.GROUP,
                    self.sees_groups,
                    AclOperation.DESCRIBE,
                    ResourcePatternType.PREFIXED,
                )
            )
        return found


def app_rights() -> Rights:
    """An app: it writes documents, access, questions and feedback, and reads replies and what became of documents."""
    return Rights(
        reads=_names(REPLY, SOURCE_CHANGED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, ACL_CHANGED),
        writes=_names(
            SOURCE_CHANGED, ACL_CHANGED, QUERY_RECEIVED, QUERY_CANCELLED, FEEDBACK_GIVEN, INTERACTION_OBSERVED
        ),
        groups=frozenset({READER_GROUP}),
    )


def gateway_rights() -> Rights:
    """The gateway: what an app may, and to read all that there is of questions; it shows everyone their own.

    It writes what people decide about review items, too.
    """
    app = app_rights()
    of_questions = _names(*(topic for topic in CATALOGUE.values() if topic.group != "corpus"))
    reads = app.reads | of_questions | _names(*_VISIBILITY)
    return replace(app, reads=reads, writes=app.writes | _names(REVIEW_DECISION_MADE))


def operator_rights(group_prefix: str) -> Rights:
    """A person at the command line: reads and writes everything of Millrace's, and changes no topic and no right."""
    every = _names(*CATALOGUE.values())
    return Rights(
        reads=every | {topic.dead_letters for topic in CATALOGUE.values() if not topic.reply},
        writes=every,
        groups=frozenset({READER_GROUP}),
        sees_settings=True,
        sees_groups=group_prefix,
    )


def connect_rights(captured: Iterable[str], made: Iterable[str]) -> Rights:
    """Kafka Connect with Debezium: its own topics, and those of what it captures.

    Parameters
    ----------
    captured : iterable of str
        Topics of the tables.
    made : iterable of str
        Topics that Debezium writes beside them, and makes itself.
    """
    own = frozenset(f"{CONNECT_GROUP}.{kind}" for kind in ("config", "offset", "status"))
    return Rights(
        reads=own,
        writes=own.union(captured, made),
        creates=own.union(made),
        groups=frozenset({CONNECT_GROUP}),
        sees_settings=True,
    )


def worker_rights(
    specs: Iterable[AgentSpec],
    ports: Callable[[AgentSpec], str],
    changelog: Callable[[AgentSpec], str],
    group_prefix: str,
) -> Rights:
    """A worker that runs some agents: their topics and groups, and what their ports fold.

    Parameters
    ----------
    specs : iterable of AgentSpec
        The agents.
    ports : callable
        Name of the class of ports that an agent asks for; empty without any.
    changelog : callable
        Changelog topic of a keyed agent's table.
    group_prefix : str
        Beginning of the names of consumer groups.
    """
    reads: set[str] = set()
    writes: set[str] = set()
    sees: set[str] = set()
    groups: set[str] = set()
    foreign = False
    for spec in specs:
        for part in (spec, *spec.stages):
            groups.add(f"{group_prefix}{part.name}")
            reads |= _names(*part.sources)
            foreign |= any(topic.read is not None for topic in part.sources)  # must not be compacted: it looks
            writes |= _names(*part.sinks) | {topic.dead_letters for topic in part.sources}
            sees |= {topic.dead_letters for topic in part.sinks if not topic.reply}
        if SESSION_DUE in spec.sources:
            writes.add(SESSION_DUE.name)  # whoever waits for quiet conversations looks for them
        if spec.form == "keyed":
            groups.add(f"{group_prefix}tables-{spec.name}")
            reads.add(changelog(spec))
            writes.add(changelog(spec))
        match ports(spec):
            case "QueryPorts":
                reads |= _names(*_VISIBILITY, ANSWER_PRODUCED, QUERY_CANCELLED)
                writes.add(ACL_CHANGED.dead_letters)
            case "GuardPorts":
                reads |= _names(REVIEW_DECISION_MADE)
            case "ReviewPorts":
                reads |= _names(*_VISIBILITY, REVIEW_DECISION_MADE)
            case "AttributionPorts":
                reads |= _names(*_VISIBILITY)
                writes.add(ACL_CHANGED.dead_letters)
            case "CorpusPorts" | "StatisticsPorts":
                reads |= _names(*_VISIBILITY)
                writes |= _names(MAINTENANCE_DUE) | {ACL_CHANGED.dead_letters}
    return Rights(frozenset(reads), frozenset(writes), frozenset(sees), groups=frozenset(groups), sees_settings=foreign)


class Rule(NamedTuple):
    """One of Kafka's rules, in the words of its tools.

    Attributes
    ----------
    principal, operation, resource, pattern, name : str
        Such as ``User:app``, ``READ``, ``TOPIC``, ``LITERAL`` and the name of a topic; from any host.
    """

    principal: str
    operation: str
    resource: str
    pattern: str
    name: str


def rules_of(rights: Mapping[str, Rights]) -> list[Rule]:
    """Rules of all principals, as somebody would set them by hand."""
    bindings = (binding for principal, allowed in rights.items() for binding in allowed.bindings(principal))
    return sorted(
        Rule(
            str(each.principal),
            AclOperation(each.operation).name,
            ResourceType(each.restype).name,
            ResourcePatternType(each.resource_pattern_type).name,
            str(each.name),
        )
        for each in bindings
    )


def grant(admin: AdminClient, rights: Mapping[str, Rights], *, exactly: bool = True) -> int:
    """Make each principal's rules these; gives the number of rules added and removed.

    Parameters
    ----------
    admin : AdminClient
        Of a user who may change rules.
    rights : mapping
        Of each principal by name.
    exactly : bool
        Whether to take away what is more.

    Raises
    ------
    Unavailable
        The broker does not answer, or refuses.
    """
    n_changed = 0
    for principal, allowed in rights.items():
        wanted, found = allowed.bindings(principal), _found(admin, principal)
        if stale := found - wanted if exactly else set[AclBinding]():
            _all(admin.delete_acls([_filter_of(binding) for binding in stale], request_timeout=_TIMEOUT_S))
        if missing := wanted - found:
            _all(admin.create_acls(list(missing), request_timeout=_TIMEOUT_S))
        n_changed += len(stale) + len(missing)
        _await(admin, principal, wanted | found - stale)
    return n_changed


def ensure_users(admin: AdminClient, passwords: Mapping[str, str]) -> None:
    """Give users these passwords, known or new; errors as of `grant`."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
    changes = [UserScramCredentialUpsertion(user, info, password.encode()) for user, password in passwords.items()]
    _all(admin.alter_user_scram_credentials(changes, request_timeout=_TIMEOUT_S))  # type: ignore[arg-type]


def _binding(
    principal: str,
    kind: ResourceType,
    name: str,
    operation: AclOperation,
    pattern: ResourcePatternType = ResourcePatternType.LITERAL,
) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{principal}", "*", operation, AclPermissionType.ALLOW)


def _found(admin: AdminClient, principal: str) -> set[AclBinding]:
    anything: Any = None
    every = AclBindingFilter(
        ResourceType.ANY,
        anything,
        ResourcePatternType.ANY,
        f"User:{principal}",
        anything,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    try:
        return set(admin.describe_acls(every, request_timeout=_TIMEOUT_S).result())
    except KafkaException as error:
        raise _unavailable(error) from error


def _filter_of(binding: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        binding.restype, binding.name, binding.resource_pattern_type, binding.principal, binding.host,
        binding.operation, binding.permission_type,
    )  # fmt: skip


def _all(futures: Mapping[Any, Any]) -> None:
    try:
        for future in futures.values():
            future.result()
    except KafkaException as error:
        raise _unavailable(error) from error


def _unavailable(error: KafkaException) -> Unavailable:
    return Unavailable(
        f"the broker did not set users and rights ({error.args[0].str()}); that takes an authorizer, and a user who "
        "may: at nodes of the launcher 'admin', whose password is in the secrets of the home folder, at a broker of "
        "yours the user of kafka.sasl_username"
    )


def _await(admin: AdminClient, principal: str, wanted: set[AclBinding]) -> None:
    """Wait until the broker that answers has the rules that the controller took."""
    deadline = time.monotonic() + _TIMEOUT_S
    while _found(admin, principal) != wanted:
        if time.monotonic() > deadline:
            raise Unavailable(f"the rules of {principal} did not reach the broker within {_TIMEOUT_S:g} s; try again")
        time.sleep(0.02)


def _names(*topics: Topic) -> frozenset[str]:
    return frozenset(topic.name for topic in topics)
