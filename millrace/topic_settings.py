"""Whether topics on a broker are kept as the catalogue says: retention, compaction, sizes."""

from collections.abc import Mapping

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource

from millrace.errors import ConfigurationError, Unavailable
from millrace.topics import CATALOGUE


class Drift(msgspec.Struct, frozen=True):
    """A setting of a topic that is not what the catalogue says."""

    topic: str
    setting: str
    found: str
    expected: str

    def __str__(self) -> str:
        """For a message."""
        return f"{self.topic} has {self.setting} {self.found} instead of {self.expected}"


def catalogue_settings() -> dict[str, dict[str, str]]:
    """Settings of every topic of the catalogue and its dead letter topic, by name."""
    found = {topic.name: topic.config for topic in CATALOGUE.values()}
    return found | {topic.dead_letters: topic.dead_letters_config for topic in CATALOGUE.values() if not topic.reply}


def drifted(client: AdminClient, wanted: Mapping[str, Mapping[str, str]], timeout_s: float = 10.0) -> list[Drift]:
    """Compare topics on a real broker with what they should be; topics that are not there are left out.

    Parameters
    ----------
    client : AdminClient
        Connected to the broker.
    wanted : mapping
        Settings in Kafka's names, by topic.
    timeout_s : float
        Limit of the request, in seconds.

    Raises
    ------
    ConfigurationError
        The broker does not allow looking.
    Unavailable
        The broker does not answer.
    """
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in wanted]
    answers = client.describe_configs(resources, request_timeout=timeout_s)
    drifts = []
    for resource, future in answers.items():
        try:
            entries = future.result()
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            kind = ConfigurationError if code == KafkaError.TOPIC_AUTHORIZATION_FAILED else Unavailable
            raise kind(f"the broker does not say how {resource.name!r} is kept: {error.args[0].str()}") from error
        for setting, expected in wanted[resource.name].items():
            found = entries[setting].value if setting in entries else "nothing"
            if found != expected:
                drifts.append(Drift(resource.name, setting, found, expected))
    return drifts
