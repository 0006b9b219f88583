"""Laws about what a worker's parts owe each other."""

import asyncio
import subprocess
import sys
from collections.abc import Collection, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiokafka import TopicPartition
from pydantic import SecretStr

from agents.corpus import featurize
from agents.learn import attribute_stage
from agents.learn.examples import propose_example
from agents.query import answer_question
from infra.composition import Composition, _codecs, compose, open_vectors
from infra.launch.stack import Stack
from infra.metrics import Metrics
from infra.observed import ObservedScanner, Watch
from infra.parsers import parser_limits
from infra.registry import register
from infra.settings import ParserSettings, RegistrySettings, Settings, StoreSettings, WeaviateSettings
from millrace import schema_folder
from millrace.agent import AgentSpec, spec_of
from millrace.codec import Codec
from millrace.errors import ConfigurationError, UnknownSchema
from millrace.event import Event
from millrace.keys import key
from millrace.registered import UnmetSchema, once_met
from millrace.registry import Registry
from millrace.schema_lock import released
from millrace.topics import CATALOGUE, Topic
from tests.streams.stores.vector_store_contract import DIM, chunk, ids
from tests.weaviate_servers import Weaviate


class Asked(Event, frozen=True, kw_only=True):
    """What a package of a user's own reads."""

    namespace: ClassVar[str] = "tests.composition"


class Told(Event, frozen=True, kw_only=True):
    """What it writes."""

    namespace: ClassVar[str] = "tests.composition"


def _tell(event: Asked) -> Told:
    return Told(tenant=event.tenant)


@dataclass
class View:
    """A view that notes which partitions it was to have read."""

    asked_for: list[Collection[int]] = field(default_factory=list)

    async def wait_ready(self) -> None:
        """It is."""

    async def caught_up(self, partitions: Iterable[int] | None = None) -> None:
        self.asked_for.append(set(partitions or ()))

    def note(self, event: Event) -> None:
        """Nothing to keep."""


@pytest.mark.parametrize(
    ("spec", "read"),
    [
        (answer_question, ["answers", "cancellations"]),
        (spec_of(featurize), ["tail"]),
        (spec_of(attribute_stage), ["tail"]),
    ],
    ids=["question", "corpus", "attribution"],
)
async def test_an_agent_begins_with_a_partition_when_the_views_it_needs_have_read_it(
    spec: AgentSpec, read: list[str]
) -> None:
    composition: Any = Composition(Codec())
    views = {name: View() for name in ("tail", "answers", "cancellations")}
    for name, view in views.items():
        setattr(composition, name, view)
    composition.prepare_for([spec])
    await composition.prepare[spec.name]([TopicPartition(spec.sources[0].name, n) for n in (1, 3)])
    assert [name for name, view in views.items() if view.asked_for == [{1, 3}]] == read
    assert [name for name, view in views.items() if not view.asked_for] == [name for name in views if name not in read]


def test_every_part_of_a_run_that_is_cut_begins_when_its_views_have_read_the_partition() -> None:
    composition: Any = Composition(Codec())
    composition.tail = composition.answers = composition.cancellations = View()
    composition.prepare_for([answer_question], ("read", "answer"))
    assert set(composition.prepare) == {"answer_question", "read", "answer"}


def test_the_view_of_answers_is_told_of_what_its_own_process_wrote() -> None:
    composition: Any = Composition(Codec())
    composition.tail = composition.answers = composition.cancellations = View()
    composition.prepare_for([answer_question, spec_of(featurize)])
    assert composition.note == {"answer_question": composition.answers.note}


async def test_a_worker_shares_the_schemas_of_what_its_agents_read_and_write(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    stack = Stack("embedded", "127.0.0.1:1", "e", settings.objects, str(tmp_path), "2026-01-01T00:00:00Z")
    source, sink = (
        Topic(name=f"app.{event.__name__.lower()}.v1", events=(event,), key=lambda e: key(e.tenant), group="app")
        for event in (Asked, Told)
    )
    spec = AgentSpec(name="tell", function=_tell, form="event", sources=(source,), sinks=(sink,))
    async with compose(settings, stack, [spec], name="w", client={}) as composition:
        find = schema_folder.writers(Path(settings.objects))
        assert all(find(composition.codec.register(event)) for event in (Asked, Told))


async def test_what_the_agents_of_a_worker_have_scanned_is_seen_by_its_watch(tmp_path: Path) -> None:
    settings, watch, spec = Settings(home=tmp_path), Watch(Metrics()), spec_of(propose_example)
    stack = Stack("embedded", "127.0.0.1:1", "e", settings.objects, str(tmp_path), "2026-01-01T00:00:00Z")
    async with compose(settings, stack, [spec], name="w", client={}, watch=watch) as composition:
        assert composition.guards is not None
        assert composition.guards.watch is watch
        async with composition.ports_for(spec) as ports:
            assert isinstance(ports.scanner, ObservedScanner)


def test_every_limit_of_the_parsers_is_what_the_settings_say() -> None:
    values = {"processes": 3, "wall_s": 4.0, "cpu_s": 5, "memory_mb": 600, "max_text_chars": 7, "max_inflated_mb": 8,
              "max_inflation": 9, "max_depth": 10, "documents_per_process": 11, "slow_processes": 12,
              "slice_s": 13.0}  # fmt: skip
    assert values.keys() == ParserSettings.model_fields.keys()
    limits = parser_limits(ParserSettings.model_validate(values), 12)
    assert (limits.processes, limits.wall_s, limits.cpu_s, limits.memory_bytes) == (3, 4.0, 5, 600 * 2**20)
    assert (limits.max_text_chars, limits.max_inflated_bytes, limits.max_inflation) == (7, 8 * 2**20, 9)
    assert (limits.max_depth, limits.documents_per_process, limits.max_bytes) == (10, 11, 12)
    assert (limits.slow_processes, limits.slice_s) == (12, 13.0)


def test_a_worker_loads_the_client_of_the_store_that_it_uses_and_no_other() -> None:
    script = "import sys, infra.worker; print(*sorted({'lancedb', 'weaviate'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.split() == []


async def test_the_store_of_the_embedded_profile_keeps_rows_on_disk(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    async with AsyncExitStack() as services:
        store = await open_vectors(settings, STACK, DIM, services)
        await store.upsert([chunk(1)])
    async with AsyncExitStack() as services:
        again = await open_vectors(settings, STACK, DIM, services)
        assert ids(await again.fetch("t", [chunk(1).chunk_id])) == [chunk(1).chunk_id]
    assert settings.vectors.exists()


def _on_weaviate(tmp_path: Path, weaviate: Weaviate, key: str) -> Settings:
    server = WeaviateSettings(
        url=weaviate.address.url,
        grpc=weaviate.address.grpc,
        api_key=SecretStr(key),
        collection=weaviate.collection,
    )
    return Settings(home=tmp_path, stores=StoreSettings(kind="weaviate"), weaviate=server)


STACK = Stack("kafka", "127.0.0.1:1", "e", objects="", home="", started_at="")


async def test_rows_are_in_weaviate_where_the_settings_say_so(tmp_path: Path, weaviate: Weaviate) -> None:
    settings = _on_weaviate(tmp_path, weaviate, weaviate.keys.worker)
    async with AsyncExitStack() as services:
        store = await open_vectors(settings, STACK, DIM, services)
        await store.upsert([chunk(1)])
        assert not await store.maintain("t")
    async with AsyncExitStack() as services:
        again = await open_vectors(settings, STACK, DIM, services)
        assert ids(await again.fetch("t", [chunk(1).chunk_id])) == [chunk(1).chunk_id]
    assert not settings.vectors.exists()


async def test_a_worker_that_weaviate_does_not_let_in_is_told_at_its_start(tmp_path: Path, weaviate: Weaviate) -> None:
    async with AsyncExitStack() as services:
        with pytest.raises(ConfigurationError, match=r"weaviate\.api_key"):
            await open_vectors(_on_weaviate(tmp_path, weaviate, "guess"), STACK, DIM, services)


async def test_a_worker_without_an_address_of_weaviate_is_told_which_settings_to_give(tmp_path: Path) -> None:
    async with AsyncExitStack() as services:
        with pytest.raises(ConfigurationError, match=r"set weaviate\.url"):
            await open_vectors(Settings(home=tmp_path, stores=StoreSettings(kind="weaviate")), STACK, DIM, services)


async def test_a_worker_asks_the_registry_beside_its_event_loop_and_its_views_read_their_files_at_once(
    registry: Registry,
) -> None:
    register(registry, CATALOGUE.values(), [released()])
    settings = Settings(profile="kafka", registry=RegistrySettings(timeout_s=20.0))
    stack = replace(STACK, registry=registry.access.url)
    on_loop, of_views = await asyncio.to_thread(_codecs, settings, stack, [spec_of(featurize)])
    unmet = b"\x00" + (999_999).to_bytes(4, "big") + b"body"
    with pytest.raises(UnmetSchema):
        on_loop.decode(unmet)
    with pytest.raises(UnknownSchema):
        of_views.decode(unmet)
    with pytest.raises(UnknownSchema):
        await once_met(partial(on_loop.decode, unmet))
