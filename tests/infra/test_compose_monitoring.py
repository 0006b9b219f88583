"""The Compose profile `monitoring`: its configuration files against the services they name."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.compose_file import ROOT, read_compose, services
from tests.infra.test_compose import JOBS, MONITORING_PORTS, OURS

SERVICES = services()


def _configured(name: str) -> dict[str, Any]:
    """Configuration files of a service, by where it finds them."""
    files = read_compose()["configs"]
    return {
        each["target"]: yaml.safe_load((ROOT / files[each["source"]]["file"]).read_text())
        for each in SERVICES[name]["configs"]
    }


def test_prometheus_asks_every_worker_where_it_answers_and_reads_the_alerts() -> None:
    found = _configured("prometheus")
    config = found["/etc/prometheus/prometheus.yml"]
    assert set(config["rule_files"]) <= set(found)
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in config["scrape_configs"]}
    workers = jobs["millrace-workers"]
    assert set(workers["names"]) == {name for name in OURS - JOBS if SERVICES[name]["command"][0] == "worker"}
    for name in workers["names"]:
        environment = SERVICES[name]["environment"]
        assert environment["MILLRACE_TELEMETRY__HEALTH_HOST"] == "0.0.0.0"  # noqa: S104 - within the network of the stack
        assert int(environment["MILLRACE_TELEMETRY__HEALTH_PORT"]) == workers["port"]
    assert f"--config.file={next(iter(found))}" in SERVICES["prometheus"]["command"]


def test_grafana_has_its_dashboards_and_reads_from_services_that_listen() -> None:
    found = _configured("grafana")
    [provider] = found["/etc/grafana/provisioning/dashboards/millrace.yml"]["providers"]
    boards = [path for path in found if path.startswith(provider["options"]["path"])]
    assert {found[path]["uid"] for path in boards} == {"millrace-workers", "millrace-gateway"}
    for source in found["/etc/grafana/provisioning/datasources/millrace.yml"]["datasources"]:
        host, port = re.fullmatch(r"http://([a-z]+):(\d+)", source["url"]).groups()  # type: ignore[union-attr]
        assert int(port) in MONITORING_PORTS[host]


def test_spans_go_to_the_collector_and_on_from_there() -> None:
    [config] = _configured("collector").values()
    assert config["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(":4318")
    pipeline = config["service"]["pipelines"]["traces"]
    assert all(name in config[kind] for kind in ("receivers", "processors", "exporters") for name in pipeline[kind])
    host, port = re.fullmatch(
        r"http://([a-z]+):(\d+)", config["exporters"][pipeline["exporters"][0]]["endpoint"]
    ).groups()  # type: ignore[union-attr]
    assert int(port) in MONITORING_PORTS[host]


def test_without_the_profile_nothing_of_it_runs_and_no_span_leaves() -> None:
    assert all(SERVICES[name]["profiles"] == ["monitoring"] for name in MONITORING_PORTS)
    needed = {other for service in SERVICES.values() for other in service.get("depends_on", {})}
    assert not (needed & set(MONITORING_PORTS)) - {"prometheus"}
    assert {SERVICES[name]["environment"]["MILLRACE_TELEMETRY__EXPORT"] for name in OURS} == {"false"}
