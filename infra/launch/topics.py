"""The topics of a running stack against the catalogue, and the changelogs of tables against what their agents say."""

from __future__ import annotations

from contextlib import suppress

from confluent_kafka.admin import AdminClient

from infra.launch.broker import broker_connection
from infra.launch.stack import Stack
from infra.settings import Settings
from millrace.errors import ConfigurationError
from millrace.topic_settings import Drift, catalogue_settings, drifted
from millrace.topics import CATALOGUE
from streams.admin import TopicPlan, plan_topics, repair_topics


def topic_drifts(settings: Settings, stack: Stack, *, tables: bool = False) -> list[Drift]:
    """Settings of topics that are not as in the catalogue; none where the broker does not let anybody look.

    Parameters
    ----------
    tables : bool
        Whether to look at the changelogs of tables as well, for which all agents are imported.

    Raises
    ------
    Unavailable
        The broker does not answer.
    """
    if stack.profile == "embedded":
        return []
    admin, found = _admin(settings, stack), list[Drift]()
    with suppress(ConfigurationError):  # a broker of the user's own, whose topics are none of our business
        found += drifted(admin, catalogue_settings())
    if tables:
        with suppress(ConfigurationError):
            found += drifted(admin, {plan.name: plan.config for plan in _changelogs(settings)})
    return found


def repair(settings: Settings, stack: Stack) -> list[Drift]:
    """Set the settings of topics to what the catalogue says; gives what was different. Errors as of `repair_topics`."""
    if stack.profile == "embedded":
        raise ConfigurationError("the embedded broker has no topic settings; nothing can drift there")
    plans = plan_topics(CATALOGUE.values(), settings.partitions.model_dump())
    admin = _admin(settings, stack)
    return repair_topics(admin, plans) + repair_topics(admin, _changelogs(settings))


def _changelogs(settings: Settings) -> list[TopicPlan]:
    from infra.launch.rights import every_spec
    from infra.worker import plan_changelogs

    return plan_changelogs(settings, every_spec(settings))


def _admin(settings: Settings, stack: Stack) -> AdminClient:
    return AdminClient(broker_connection(settings, stack.bootstrap).librdkafka())
