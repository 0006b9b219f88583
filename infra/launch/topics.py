"""The topics of a running stack against the catalogue."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from infra.launch.broker import broker_connection
from infra.launch.stack import Stack
from infra.settings import Settings
from millrace.errors import ConfigurationError
from millrace.topic_settings import Drift, catalogue_settings, drifted
from millrace.topics import CATALOGUE
from streams.admin import plan_topics, repair_topics


def topic_drifts(settings: Settings, stack: Stack) -> list[Drift]:
    """Settings of topics that are not as in the catalogue; none where the broker does not let anybody look.

    Raises
    ------
    Unavailable
        The broker does not answer.
    """
    if stack.profile == "embedded":
        return []
    try:
        return drifted(_admin(settings, stack), catalogue_settings())
    except ConfigurationError:  # a broker of the user's own, whose topics are none of our business
        return []


def repair(settings: Settings, stack: Stack) -> list[Drift]:
    """Set the settings of topics to what the catalogue says; gives what was different. Errors as of `repair_topics`."""
    if stack.profile == "embedded":
        raise ConfigurationError("the embedded broker has no topic settings; nothing can drift there")
    return repair_topics(_admin(settings, stack), plan_topics(CATALOGUE.values(), settings.partitions.model_dump()))


def _admin(settings: Settings, stack: Stack) -> AdminClient:
    return AdminClient(broker_connection(settings, stack.bootstrap).librdkafka())
