"""Create topics, always by an explicit step and from a catalogue, and check those that exist.

Idempotent. An existing topic is not altered by creating: another number of partitions would send keys elsewhere and
break their order, so it is refused with what to do instead. Other settings are compared by `millrace.topic_settings`,
and set by `repair_topics` alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, OffsetSpec

from millrace.errors import ConfigurationError, Unavailable
from millrace.topic_settings import Drift, drifted
from millrace.topics import Topic

DEFAULT_PARTITIONS: Final = 4
_BROKER_DEFAULT: Final = -1


@dataclass(frozen=True)
class TopicPlan:
    """A topic as it is to be created.

    Attributes
    ----------
    name : str
        Topic name.
    partitions : int
        Number of partitions.
    config : mapping of str to str
        Topic settings in Kafka's names.
    """

    name: str
    partitions: int
    config: Mapping[str, str]


def plan_topics(topics: Iterable[Topic], partitions: Mapping[str, int]) -> list[TopicPlan]:
    """Plan the topics of a catalogue, each but the reply topic with its dead letter topic.

    Parameters
    ----------
    topics : iterable of Topic
        The catalogue's entries.
    partitions : mapping of str to int
        Partitions by key group; a group not named has `DEFAULT_PARTITIONS`.

    Returns
    -------
    list of TopicPlan
        A dead letter topic has its source's partitions.
    """
    plans = []
    for topic in topics:
        n = partitions.get(topic.group, DEFAULT_PARTITIONS)
        plans.append(TopicPlan(topic.name, n, topic.config))
        if not topic.reply:
            plans.append(TopicPlan(topic.dead_letters, n, topic.dead_letters_config))
    return plans


def create_topics(
    client: AdminClient, plans: Iterable[TopicPlan], *, replication: int = _BROKER_DEFAULT, timeout_s: float = 60.0
) -> dict[str, int]:
    """Create what is missing on a real broker and check what is there.

    Parameters
    ----------
    client : AdminClient
        Connected to the broker.
    plans : iterable of TopicPlan
        What must exist afterwards.
    replication : int
        Replicas of a new topic; -1 leaves it to the broker.
    timeout_s : float
        Limit of each request, in seconds.

    Returns
    -------
    dict of str to int
        Partitions found on the broker, by topic.

    Raises
    ------
    ConfigurationError
        A topic exists with another number of partitions, or the broker refuses one for good.
    Unavailable
        The broker does not answer.
    """
    wanted = {plan.name: plan for plan in plans}
    found = _partitions(client, timeout_s)
    new = [
        NewTopic(name, plan.partitions, replication, config=dict(plan.config))
        for name, plan in wanted.items()
        if name not in found
    ]
    if new:
        for name, future in client.create_topics(new, operation_timeout=timeout_s, request_timeout=timeout_s).items():
            try:
                future.result()
            except KafkaException as error:
                _raise_unless_exists(name, error.args[0])
        # The answer to CreateTopics may be a moment ahead of the metadata that the broker hands out.
        deadline = time.monotonic() + timeout_s
        while not set(wanted) <= set(found := _partitions(client, timeout_s)) and time.monotonic() < deadline:
            time.sleep(0.02)
        _await_leaders(
            client, [TopicPartition(plan.topic, i) for plan in new for i in range(plan.num_partitions)], deadline
        )
    return _checked(wanted, found)


def repair_topics(client: AdminClient, plans: Iterable[TopicPlan], *, timeout_s: float = 30.0) -> list[Drift]:
    """Set the settings of existing topics to what the plans say; gives what was different.

    Raises
    ------
    ConfigurationError
        The broker refuses.
    Unavailable
        The broker does not answer.
    """
    drifts = drifted(client, {plan.name: plan.config for plan in plans}, timeout_s)
    resources: dict[str, ConfigResource] = {}
    for drift in drifts:
        entry = ConfigEntry(drift.setting, drift.expected, incremental_operation=AlterConfigOpType.SET)
        resource = resources.setdefault(drift.topic, ConfigResource(ConfigResource.Type.TOPIC, drift.topic))
        resource.add_incremental_config(entry)
    if resources:
        answers = client.incremental_alter_configs(list(resources.values()), request_timeout=timeout_s)
        for resource, future in answers.items():
            try:
                future.result()
            except KafkaException as error:
                raise ConfigurationError(
                    f"the broker refused the settings of topic {resource.name!r}: {error.args[0].str()}"
                ) from error
    return drifts


def touch_topics(
    client: AdminClient,
    plans: Iterable[TopicPlan],
    *,
    create: Callable[[str, int], bool] | None = None,
    timeout_s: float = 30.0,
) -> dict[str, int]:
    """Make topics exist on the embedded broker, which answers no CreateTopics and has no topic settings.

    Parameters
    ----------
    client : AdminClient
        Connected to the embedded broker.
    plans : iterable of TopicPlan
        What must exist afterwards.
    create : callable, optional
        Creates a topic with an exact number of partitions (`EmbeddedBroker.create_topic`). Without it the topics are
        asked for by name, and each gets the broker's fixed 4 partitions.
    timeout_s : float
        Limit of each request, in seconds.

    Returns
    -------
    dict of str to int
        Partitions found on the broker, by topic; without `create` they may differ from the plan.

    Raises
    ------
    ConfigurationError
        A topic exists with another number of partitions than `create` was asked for.
    Unavailable
        The broker does not answer.
    """
    wanted = {plan.name: plan for plan in plans}
    for name, plan in wanted.items():
        if create is not None:
            create(name, plan.partitions)
        else:
            _partitions(client, timeout_s, name)
    found = _partitions(client, timeout_s)
    return _checked(wanted, found) if create is not None else {name: found[name] for name in wanted}


def refuse_compacted(client: AdminClient, topics: Iterable[str], *, timeout_s: float = 30.0) -> None:
    """Check that topics which others write are deleted by age alone.

    In a compacted one a change could be gone before it is read, and with it what only that change says.

    Raises
    ------
    ConfigurationError
        A topic is compacted.
    Unavailable
        The broker does not answer.
    """
    wanted = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics]
    for resource, future in client.describe_configs(wanted, request_timeout=timeout_s).items() if wanted else ():
        try:
            policy = future.result()["cleanup.policy"].value
        except KafkaException as error:
            raise Unavailable(
                f"the settings of topic {resource.name!r} cannot be read: {error.args[0].str()}"
            ) from error
        if policy != "delete":
            raise ConfigurationError(
                f"topic {resource.name!r} has cleanup.policy={policy}, allowed is 'delete': the deletion of a row "
                f"could be compacted away before it is read; kafka-configs --alter --topic {resource.name} "
                "--add-config cleanup.policy=delete"
            )


def _text(config: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in config.items()}


def _partitions(client: AdminClient, timeout_s: float, topic: str | None = None) -> dict[str, int]:
    try:
        metadata = client.list_topics(topic, timeout_s) if topic else client.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise Unavailable(
            f"the broker gave no list of topics within {timeout_s:g} s ({error.args[0].str()}); "
            "is it running? see `python -m infra status`"
        ) from error
    return {name: len(found.partitions) for name, found in metadata.topics.items()}


def _raise_unless_exists(name: str, error: KafkaError) -> None:
    if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
        return
    if error.retriable() or error.code() == KafkaError._TIMED_OUT:  # noqa: SLF001 - the client's name for it
        raise Unavailable(f"topic {name!r} could not be created now: {error.str()}; try again")
    raise ConfigurationError(f"the broker refused to create topic {name!r}: {error.str()}")


def _await_leaders(client: AdminClient, partitions: Sequence[TopicPartition], deadline: float) -> None:
    """Return when every partition answers: a broker names the leader of a new one before it acts as one.

    The client keeps what it was told while a partition had no leader yet, so it is made to ask again.

    Raises
    ------
    Unavailable
        If one does not answer by `deadline`, on the monotonic clock.
    """
    waiting, latest = list(partitions), OffsetSpec.latest()  # type: ignore[no-untyped-call]
    while waiting:
        answers = client.list_offsets(dict.fromkeys(waiting, latest), request_timeout=5.0)
        waiting, why = [], ""
        for at, future in answers.items():
            try:
                future.result()
            except KafkaException as error:
                waiting.append(at)
                why = str(error.args[0].str())
        if waiting and time.monotonic() > deadline:
            raise Unavailable(f"{waiting[0].topic}/{waiting[0].partition} has no leader yet ({why}); try again")
        if waiting:
            time.sleep(0.05)
            with contextlib.suppress(KafkaException):
                client.list_topics(timeout=5.0)


def _checked(wanted: Mapping[str, TopicPlan], found: Mapping[str, int]) -> dict[str, int]:
    wrong = [
        f"{name!r} has {found[name]} (settings say {plan.partitions})"
        for name, plan in wanted.items()
        if name in found and found[name] != plan.partitions
    ]
    if wrong:
        raise ConfigurationError(
            f"topics exist with another number of partitions: {', '.join(wrong)}; set `partitions` to what is there, "
            "or move to new topics: keys would change their partition and lose their order"
        )
    if missing := sorted(set(wanted) - set(found)):
        raise Unavailable(f"topics were created but are not listed yet: {', '.join(missing)}; try again")
    return {name: found[name] for name in wanted}
