"""Kafka Connect with Debezium's Postgres connector: installed by Maven, run on Java 17, driven by its REST API."""

from infra.servers.connect.install import CONNECT_VERSION, DEBEZIUM_VERSION, install_connect
from infra.servers.connect.rest import ConnectorState, ConnectRest
from infra.servers.connect.server import ConnectServer

__all__ = ["CONNECT_VERSION", "DEBEZIUM_VERSION", "ConnectRest", "ConnectServer", "ConnectorState", "install_connect"]
