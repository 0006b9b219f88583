#!/bin/sh
# Start the registry as `infra.servers.apicurio.ApicurioServer` does.
set -eu
exec "${JAVA:-java}" "-Xmx${REGISTRY_HEAP_MB:-256}m" -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -XX:TieredStopAtLevel=1 \
    "-Dquarkus.http.host=${REGISTRY_HOST:-0.0.0.0}" \
    "-Dquarkus.http.port=${REGISTRY_PORT:-8080}" \
    -Dquarkus.datasource.jdbc.initial-size=2 \
    -Dquarkus.datasource.jdbc.min-size=1 \
    -Dquarkus.datasource.jdbc.max-size=10 \
    -Dquarkus.log.level=WARN \
    '-Dquarkus.log.category."io.apicurio".level=WARN' \
    "-Dquarkus.datasource.jdbc.url=jdbc:h2:file:${REGISTRY_DATA:-/var/lib/registry}/registry;WRITE_DELAY=0" \
    -jar "${REGISTRY_HOME:-/opt/registry}"/*-runner.jar
