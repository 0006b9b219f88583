"""Images of the Compose files: versions, volumes, memory."""

from __future__ import annotations

import re

import pytest

from infra.servers.apicurio import APICURIO_VERSION
from infra.servers.connect import DEBEZIUM_VERSION
from infra.servers.kafka import KAFKA_VERSION
from infra.servers.triton import TRITON_VERSION
from infra.servers.weaviate import WEAVIATE_VERSION
from tests.compose_file import GPU, ROOT, read_compose, services

SERVICES = services()
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("millrace-worker:")}


def _mib(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(m|g|MiB)", text).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit == "g" else 1)


@pytest.mark.parametrize("name", ["kafka", "weaviate"])
def test_a_heap_leaves_room_for_the_rest_of_its_process(name: str) -> None:
    environment = SERVICES[name]["environment"]
    heap = environment.get("GOMEMLIMIT") or environment["KAFKA_HEAP_OPTS"].removeprefix("-Xmx")
    assert _mib(heap) * 1.25 <= _mib(SERVICES[name]["deploy"]["resources"]["limits"]["memory"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_must_last_is_in_a_volume_and_the_rest_in_memory(name: str) -> None:
    declared = read_compose()["volumes"]
    for volume in SERVICES[name].get("volumes", ()):
        source, _, target = volume.rpartition(":")
        assert target.startswith(("/var/lib/", "/prometheus"))
        assert source in declared or (not source and name.endswith(("worker", "gateway")))
    assert any(each.split(":")[0] == "/tmp" for each in SERVICES[name]["tmpfs"])  # noqa: S108 - of the container


@pytest.mark.parametrize("name", ["kafka", "registry", "connect"])
def test_java_may_load_the_native_libraries_that_it_unpacks(name: str) -> None:
    assert "/tmp:exec" in SERVICES[name]["tmpfs"]  # noqa: S108 - of the container


def test_data_lies_where_the_server_writes() -> None:
    volumes = {name: service.get("volumes", ()) for name, service in SERVICES.items()}
    assert f"kafka:{SERVICES['kafka']['environment']['KAFKA_LOG_DIRS']}" in volumes["kafka"]
    assert f"weaviate:{SERVICES['weaviate']['environment']['PERSISTENCE_DATA_PATH']}" in volumes["weaviate"]
    serve = (ROOT / "infra/images/registry/serve.sh").read_text()
    assert f"registry:{re.search(r'REGISTRY_DATA:-([^}]+)', serve)[1]}" in volumes["registry"]  # type: ignore[index]


def test_versions_are_those_that_the_launcher_fetches() -> None:
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert images["kafka"] == f"apache/kafka:{KAFKA_VERSION}"
    assert images["registry"] == f"millrace-registry:{APICURIO_VERSION}"
    assert images["weaviate"] == f"millrace-weaviate:{WEAVIATE_VERSION}"
    assert images["triton"] == f"millrace-triton:{TRITON_VERSION}"
    assert images["connect"] == f"millrace-connect:{DEBEZIUM_VERSION}"
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]  # type: ignore[index]
    assert {images[name] for name in OURS} == {f"millrace-worker:{version}"}


def test_a_gpu_changes_the_model_server_alone_and_has_to_be_asked_for() -> None:
    over = services(GPU)
    assert set(over) == {"triton"}
    assert over["triton"]["build"]["target"] == "gpu"
    [device] = over["triton"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    with pytest.raises(KeyError, match="TRITON_IMAGE"):
        read_compose(GPU)
