"""Apache Kafka as one KRaft node on this machine: installed by Maven, run on Java 17, no containers."""

from infra.servers.kafka.install import KAFKA_VERSION, install_kafka
from infra.servers.kafka.server import KafkaServer

__all__ = ["KAFKA_VERSION", "KafkaServer", "install_kafka"]
