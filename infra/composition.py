"""The composition root: which adapters stand behind the agents' ports, by settings.

An agent's ports are chosen by the annotation of its second parameter. Only what the running agents need is opened.
"""

from __future__ import annotations

import asyncio
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from aiokafka import TopicPartition

from agents.corpus.emitted import EmittedVersions
from agents.corpus.policy import CorpusPolicy
from agents.corpus.rows_codec import decode_frequencies
from agents.guard.policy import GuardPolicy
from agents.learn.policy import LearnPolicy
from agents.learn.ports import AttributionPorts, ExamplePorts
from agents.ports import CorpusPorts, GuardPorts, QueryPorts, StatisticsPorts, TermStatistics
from agents.query.policy import QueryPolicy
from inference.embedding_cache import EmbeddingCache
from inference.triton import TritonEmbedder
from infra.embedders import open_embedder, provider
from infra.guarding import Guards, open_guards
from infra.launch import model_server
from infra.launch.registry import registry_access
from infra.launch.seeding import table_path
from infra.launch.stack import Stack
from infra.launch.vector_store import vector_store_access
from infra.learning import closing_sessions, learning_ports
from infra.metrics import Metrics
from infra.observed import ObservedCache, ObservedEmbedder, ObservedParser, ObservedStore, Store, Watch
from infra.parsers import parser_limits
from infra.reviewing import Reviewing
from infra.settings import Settings
from infra.worker_metrics import Models
from millrace import schema_folder
from millrace.agent import AgentSpec
from millrace.codec import Codec
from millrace.cutting import split
from millrace.errors import ConfigurationError
from millrace.events.corpus import StatisticsComputed
from millrace.registered import Registered
from millrace.registry import Registry
from streams.maintenance import Maintenance
from streams.parsing.pool import ParserPool
from streams.producer import Producer
from streams.pump import Prepare
from streams.pump.delivery import Note
from streams.stores.objects import ContentStore
from streams.visibility.answers import RecentAnswers
from streams.visibility.cancellations import RecentCancellations
from streams.visibility.letters import AccessLetters
from streams.visibility.tail import Tail
from streams.visibility.term_statistics import StatisticsView
from streams.worker import Watched, codec_for, own_ports

SECOND_US: Final = 1_000_000
REDELIVERY_S: Final = 600.0
"""How much longer than the longest deadline the ends of questions are known, in seconds."""
_OF_CHUNKS: Final = frozenset({CorpusPorts, QueryPorts, StatisticsPorts, AttributionPorts})
_STORES: Final = {"lance": "streams.stores.lance", "weaviate": "streams.stores.weaviate"}


class _Service(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Composition:
    """Adapters of one worker process; make it with `compose`.

    Attributes
    ----------
    codec : Codec
        Knows the schemas of this checkout, and those that other writers share beside the objects.
    prepare : dict of str to Prepare
        By agent name, what must be folded after an assignment before its records are handled.
    note : dict of str to Note
        By agent name, what is told of its events once they are acknowledged.
    watched : list of Watched
        Views whose failure ends the worker.
    models : Models or None
        The model server's client, where one is asked.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.models: Models | None = None
        self.prepare: dict[str, Prepare] = {}
        self.note: dict[str, Note] = {}
        self.guards: Guards | None = None
        self.tail: Tail | None = None
        self.answers: RecentAnswers | None = None
        self.cancellations: RecentCancellations | None = None
        self.watched: list[Watched] = []
        self._ports: dict[type, Any] = {}

    def provide(self, *ports: Any) -> None:
        """Give each of `ports` to every agent that asks for its class."""
        self._ports |= {type(each): each for each in ports}

    def prepare_for(self, specs: Collection[AgentSpec], cut: Collection[str] = ()) -> None:
        """Say what each agent waits for when it takes over partitions: its own history, folded to the end."""
        for spec in (part for each in specs for part in split(each, cut)):
            wanted = ports_class(spec)
            if wanted is QueryPorts and self.tail is not None:
                self.prepare[spec.name] = _folded(
                    self.tail, self.answers, self.cancellations, loaded=self.guards.loaded if self.guards else None
                )
                if self.answers is not None:
                    self.note[spec.name] = self.answers.note
            elif wanted in {CorpusPorts, AttributionPorts} and self.tail is not None:
                self.prepare[spec.name] = _folded(self.tail)

    @asynccontextmanager
    async def ports_for(self, spec: AgentSpec) -> AsyncIterator[Any]:
        """Ports of an agent: those composed here, or the ones it brings itself."""
        wanted = ports_class(spec)
        if wanted in self._ports:
            yield self._ports[wanted]
            return
        async with own_ports(spec, None) as ports:
            yield ports


def ports_class(spec: AgentSpec) -> type | None:
    """Class that annotates an agent's ports parameter; of a fused run, that of its stages."""
    for stage in spec.stages or (spec,):
        if stage.wants_ports and stage.ports is None:
            name = stage.function.__code__.co_varnames[stage.function.__code__.co_argcount - 1]
            found = typing.get_type_hints(stage.function).get(name)
            if isinstance(found, type):
                return found
    return None


@asynccontextmanager
async def compose(
    settings: Settings,
    stack: Stack,
    specs: Collection[AgentSpec],
    *,
    name: str,
    client: Mapping[str, Any],
    watch: Watch | None = None,
) -> AsyncIterator[Composition]:
    """Open what `specs` need; everything is closed again at the end.

    Parameters
    ----------
    settings : Settings
        Which adapters, and where their state lies.
    stack : Stack
        What runs: broker, object store, the life of its log.
    specs : collection of AgentSpec
        Agents that will run.
    name : str
        Name of the worker: its visibility table is its own.
    client : mapping
        Options of an aiokafka client.
    watch : Watch, optional
        Watches the calls of models and stores.

    Raises
    ------
    ConfigurationError
        If an installation is incomplete, or the schema registry does not have this release's schemas.
    Unavailable
        If the broker or the registry does not answer.
    """
    classes = {ports_class(spec) for spec in specs}
    if classes & _OF_CHUNKS:  # takes a second; meanwhile the rest is opened
        _ = asyncio.get_running_loop().run_in_executor(None, import_module, _STORES[settings.stores.kind])
    codec, of_views = await asyncio.to_thread(_codecs, settings, stack, specs)
    async with AsyncExitStack() as services:
        composition = Composition(codec)
        watch = watch or Watch(Metrics())
        learn = policy(LearnPolicy, settings.learn, "learn")
        builder = _Builder(composition, of_views, settings, stack, name, client, services, watch, learn)
        composition.watched += await closing_sessions(
            learn, specs, client, services, codec=of_views, **settings.fetch_waits
        )
        reviewing = Reviewing(settings, stack, name, client, of_views, services)
        composition.watched += await reviewing.open(classes)
        if classes & {GuardPorts, QueryPorts, ExamplePorts}:
            await builder.guards(classes, reviewing)
        composition.provide(*learning_ports(learn, stack, classes, composition.guards))
        if classes & _OF_CHUNKS:
            await builder.build(classes)
            composition.prepare_for(specs, settings.worker.cut)
        composition.provide(*await reviewing.ports(classes, composition.tail))
        if not stack.registry:
            await asyncio.to_thread(schema_folder.publish, Path(stack.objects), codec)
        yield composition


@dataclass
class _Builder:
    """Opens the adapters of a worker, each with its own end."""

    composition: Composition
    codec: Codec
    settings: Settings
    stack: Stack
    name: str
    client: Mapping[str, Any]
    services: AsyncExitStack
    watch: Watch
    learn: LearnPolicy

    async def guards(self, classes: Collection[type | None], reviewing: Reviewing) -> None:
        """Open what looks at questions, answers and documents, and provide it to who scans documents."""
        chosen = policy(GuardPolicy, self.settings.guard, "guard")
        guards = self.composition.guards = await open_guards(
            self.settings, chosen, classes, self.name, self.services, self.watch
        )
        if (scanner := guards.of_documents()) is not None and (known := reviewing.decisions) is not None:
            objects = ContentStore(self.stack.objects)
            self.composition.provide(GuardPorts(scanner, guards.known_scans, objects, chosen, known))

    async def build(self, classes: Collection[type | None]) -> None:
        """Open what these classes of ports need, and provide them."""
        settings, services, composition = self.settings, self.services, self.composition
        log: dict[str, Any] = {"codec": self.codec, **settings.fetch_waits}
        corpus_policy = policy(CorpusPolicy, settings.corpus, "corpus")
        query_policy = policy(QueryPolicy, settings.query, "query")
        settings.state.mkdir(parents=True, exist_ok=True)
        objects = ContentStore(self.stack.objects)
        embedder = await services.enter_async_context(
            open_embedder(settings, self.stack.address(model_server.NAME, "grpc"))
        )
        self.composition.models = embedder if isinstance(embedder, TritonEmbedder) else None
        embedder = ObservedEmbedder(embedder, self.watch, provider(settings))
        rows = await open_vectors(settings, self.stack, embedder.dim, services)
        vectors = ObservedStore(rows, self.watch, {"lance": "lancedb"}.get(settings.stores.kind, settings.stores.kind))
        producer = Producer(self.client)
        await self._start(producer)
        letters = AccessLetters(producer)
        await self._start(letters)
        tail = composition.tail = Tail(
            table_path(self.settings.state, self.name),
            self.client,
            log_epoch=self.stack.log_epoch,
            on_undecodable=letters.put,
            **log,
        )
        await self._start(tail)
        statistics = StatisticsView(self.client, objects.get, _term_statistics, **log)
        await self._start(statistics)
        composition.watched += [tail, statistics]
        if CorpusPorts in classes:
            known = EmbeddingCache(settings.state / f"{self.name}.embeddings.db")
            services.callback(known.close)
            pool = ParserPool(parser_limits(settings.parser, corpus_policy.max_document_bytes))
            await self._start(pool)
            cache, parser = ObservedCache(known, self.watch), ObservedParser(pool, self.watch)
            emitted = EmittedVersions()
            composition.provide(CorpusPorts(embedder, cache, objects, parser, vectors, tail, emitted, corpus_policy))
        await self._maintain(tail, producer if CorpusPorts in classes else None, vectors)
        if StatisticsPorts in classes:
            composition.provide(StatisticsPorts(vectors, statistics, objects, corpus_policy))
        if AttributionPorts in classes:
            composition.provide(AttributionPorts(embedder, objects, vectors, tail, query_policy, self.learn))
        if QueryPorts in classes and composition.guards is not None:
            keep_s = query_policy.max_timeout_ms / 1000 + REDELIVERY_S
            answers = composition.answers = RecentAnswers(self.client, keep_s=keep_s, **log)
            await self._start(answers)
            cancellations = composition.cancellations = RecentCancellations(self.client, keep_s=keep_s, **log)
            await self._start(cancellations)
            composition.watched += [answers, cancellations]
            composition.provide(
                QueryPorts(
                    embedder=embedder,
                    vectors=vectors,
                    visibility=tail,
                    answers=answers,
                    cancellations=cancellations,
                    statistics=statistics,
                    policy=query_policy,
                    n_reply_partitions=settings.partitions.reply,
                    **composition.guards.of_questions(),
                )
            )

    async def _maintain(self, tail: Tail, producer: Producer | None, vectors: Store) -> None:
        """Every table forgets; only who writes the index says what is due and tidies the store."""
        worker = self.settings.worker
        await self._start(
            Maintenance(
                tail,
                producer,
                self.composition.codec,
                retention_us=round(worker.version_retention_s * SECOND_US),
                interval_s=worker.maintenance_interval_s,
                tidy=vectors.maintain if producer is not None else None,
            )
        )

    async def _start(self, service: _Service) -> None:
        self.services.push_async_callback(service.stop)
        await service.start()


def policy(kind: type[Any], overrides: dict[str, Any], group: str) -> Any:
    """Policy object with overrides from the settings.

    Raises
    ------
    ConfigurationError
        Naming the field that does not exist or does not fit.
    """
    known = {info.name for info in msgspec.structs.fields(kind)}
    unknown = sorted(set(overrides) - known)
    try:
        if unknown:
            raise ConfigurationError(f"setting {group}.{unknown[0]} does not exist; known: {', '.join(sorted(known))}")
        return msgspec.convert(overrides, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"setting group {group!r}: {error}; see docs/reference/settings.md") from error


def _codecs(settings: Settings, stack: Stack, specs: Collection[AgentSpec]) -> tuple[Codec, Codec]:
    """Codecs that have met all that the agents read and write, so that the registry may go down later.

    What the first one has not met, an agent's runner asks for away from the event loop; the second one, of the views,
    asks by itself: they read their files with it too.
    """
    if not stack.registry:
        codec = codec_for(specs, Codec(writers=schema_folder.writers(Path(stack.objects))))
        return codec, codec
    registered = Registered(Registry(registry_access(settings, stack.registry)))
    registered.warm()
    on_loop, of_views = (
        codec_for(specs, Codec(ids=registered.id_of, writers=writers))
        for writers in (registered.known, registered.schema)
    )
    return on_loop, of_views


async def open_vectors(settings: Settings, stack: Stack, dim: int, services: AsyncExitStack) -> Store:
    """Open the store of chunk rows that the settings name; `services` closes it."""
    await asyncio.to_thread(import_module, _STORES[settings.stores.kind])
    if settings.stores.kind == "lance":
        from streams.stores.lance import LanceVectorStore

        tables = LanceVectorStore(settings.vectors, dim=dim)
        services.push_async_callback(tables.close)
        return tables
    from streams.stores.weaviate import Address, WeaviateVectorStore

    weaviate, access = settings.weaviate, vector_store_access(settings, stack)
    rows = WeaviateVectorStore(
        Address(access.url, access.grpc),
        dim=dim,
        api_key=access.api_key,
        collection=weaviate.collection,
        query_timeout_s=weaviate.query_timeout_s,
        write_timeout_s=weaviate.write_timeout_s,
        replicas=weaviate.replicas,
    )
    services.push_async_callback(rows.close)
    await rows.open()
    return rows


def _term_statistics(event: StatisticsComputed, frequencies: bytes) -> TermStatistics:
    return TermStatistics(event.epoch, event.n_chunks, event.mean_tokens, decode_frequencies(frequencies))


def _folded(
    tail: Tail,
    *of_questions: RecentAnswers | RecentCancellations | None,
    loaded: Callable[[], Awaitable[None]] | None = None,
) -> Prepare:
    async def prepare(partitions: Collection[TopicPartition]) -> None:
        numbers = {at.partition for at in partitions}
        if loaded is not None:
            await loaded()
        await tail.wait_ready()
        if not of_questions:
            await tail.caught_up(numbers)
        for view in of_questions:
            if view is not None:
                await view.caught_up(numbers)

    return prepare
