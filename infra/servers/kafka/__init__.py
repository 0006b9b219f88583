"""Apache Kafka in KRaft mode on this machine, one node or three: installed by Maven, run on Java 17, no containers."""

from infra.servers.kafka.cluster import KafkaCluster
from infra.servers.kafka.install import KAFKA_VERSION, install_kafka
from infra.servers.kafka.security import Secrets
from infra.servers.kafka.server import KafkaServer

__all__ = ["KAFKA_VERSION", "KafkaCluster", "KafkaServer", "Secrets", "install_kafka"]
