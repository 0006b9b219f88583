"""Apache Kafka as one KRaft node on this machine: installed by Maven, run on Java 17, no containers."""

from infra.kafka.install import KAFKA_VERSION, find_java, install_kafka
from infra.kafka.server import KafkaServer

__all__ = ["KAFKA_VERSION", "KafkaServer", "find_java", "install_kafka"]
