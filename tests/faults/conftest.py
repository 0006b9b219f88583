"""Stacks for fault tests: one a broker and test process; tests on it keep apart by tenant names."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.brokers import KafkaParts
from tests.faults.harness import FaultStack, embedded_stack, kafka_stack
from tests.faults.jobs import DONE, JOBS
from tests.faults.native import NativeStack, native_stack
from tests.faults.workload import scale, scaled

KAFKA = pytest.param("kafka", marks=pytest.mark.kafka)
NATIVE = pytest.param("native", marks=pytest.mark.native)
_FULL_SCALE_ALONE = ("test_a_replay_from_the_beginning_changes_nothing_and_fills_an_empty_index_alike[native]",)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark everything in this folder that starts a stack.

    Below full scale a control that runs on the embedded broker is not repeated on Kafka: that the oracle sees damage
    needs one proof. Nor are the longest tests run on real servers then.
    """
    repeated = []
    for item in items:
        if item.path.parent != Path(__file__).parent:
            continue
        if scale() < 1 and item.name in _FULL_SCALE_ALONE:
            repeated.append(item)
            continue
        names = getattr(item, "fixturenames", ())
        if {"stack", "corpus_stack", "roomy_stack", "kafka_only", "native"} & {*names}:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(scaled(7200, 900)))
        if "kafka_only" in names:  # `stack` is marked where Kafka is its parameter
            item.add_marker(pytest.mark.kafka)
        elif "native" in names:
            item.add_marker(pytest.mark.native)
        elif scale() < 1 and item.get_closest_marker("kafka") and _is_control(item):
            repeated.append(item)
    if repeated:
        config.hook.pytest_deselected(items=repeated)
        items[:] = [item for item in items if item not in repeated]


def _is_control(item: pytest.Item) -> bool:
    return "Control of" in (getattr(item, "function", None).__doc__ or "")


@pytest.fixture(scope="session")
def _embedded_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStack]:
    with embedded_stack(tmp_path_factory.mktemp("faults") / "home") as stack:
        stack.create_topics((JOBS.name, DONE.name))
        yield stack


@pytest.fixture(scope="session")
def _kafka_stack(tmp_path_factory: pytest.TempPathFactory, kafka_installed: KafkaParts) -> Iterator[FaultStack]:
    with kafka_stack(
        tmp_path_factory.mktemp("faults-kafka"), jars=kafka_installed.jars, java=kafka_installed.java
    ) as stack:
        stack.create_topics((JOBS.name, DONE.name))
        yield stack


@pytest.fixture(params=["embedded", KAFKA])
def stack(request: pytest.FixtureRequest) -> Iterator[FaultStack]:
    """A stack without workers, on each broker in turn; what a test starts on it is ended."""
    found = cast("FaultStack", request.getfixturevalue(f"_{request.param}_stack"))
    yield found
    found.end_workers()


@pytest.fixture(scope="session")
def _native_stack(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_installed: KafkaParts,
    apicurio_installed: object,
    weaviate_program: Path,
) -> Iterator[NativeStack]:
    folder = tmp_path_factory.mktemp("faults-native")
    with native_stack(folder, jars=kafka_installed.jars, java=kafka_installed.java) as stack:
        yield stack


@pytest.fixture(params=["embedded", KAFKA, NATIVE])
def corpus_stack(request: pytest.FixtureRequest) -> Iterator[FaultStack]:
    """The same, and one of real servers."""
    found = cast("FaultStack", request.getfixturevalue(f"_{request.param}_stack"))
    yield found
    found.end_workers()


@pytest.fixture
def native(_native_stack: NativeStack) -> Iterator[NativeStack]:
    """A stack of real servers; whichever a test has killed is started again."""
    yield _native_stack
    _native_stack.end_workers()
    _native_stack.mend()


@pytest.fixture(params=["embedded", KAFKA])
def roomy_stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FaultStack]:
    """A stack for more than the small log of the embedded broker keeps: that broker is not shared with other tests.

    Once its log has lost its beginning, no worker of another name can build its table from it.
    """
    if request.param == "embedded":
        with embedded_stack(tmp_path / "home") as found:
            yield found
            found.end_workers()
    else:
        found = cast("FaultStack", request.getfixturevalue("_kafka_stack"))
        yield found
        found.end_workers()


@pytest.fixture
def kafka_only(_kafka_stack: FaultStack) -> Iterator[FaultStack]:
    """A stack on Kafka alone: the embedded broker cannot show the fault."""
    yield _kafka_stack
    _kafka_stack.end_workers()


@pytest.fixture
def tag() -> str:
    """Letters that no other test uses."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(6))
