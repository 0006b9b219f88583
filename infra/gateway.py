"""``python -m infra gateway``: serve callers over HTTP until SIGTERM.

Like a worker it finds the broker in ``stack.json`` or in its settings, and says how it is in ``<home>/run/<name>.json``
and on a loopback port (``/ready``, ``/alive``); that port is for whoever runs it, callers come to another.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from gateway.api_keys import ApiKeys, read_keys
from gateway.app import create_app
from gateway.assembly import Replica, assembled
from gateway.faces import faces
from gateway.graphql.budget import Budget
from gateway.identifying import Verifier
from gateway.jwks import Jwks, reader_of
from gateway.pages import pages
from gateway.people import People, Person
from gateway.reading import open_library
from gateway.service import Embedder, Routers, Service
from gateway.serving import Listening, listening
from gateway.settings import GatewaySettings, Limits, OpenAIPolicy
from gateway.tokens import Claims, Tokens
from infra.embedders import open_embedder
from infra.gateway_secrets import keys_path, seal_secret
from infra.launch import model_server
from infra.launch.broker import broker_connection
from infra.launch.elsewhere import stack_of
from infra.launch.gateways import gateway_url
from infra.launch.registry import registry_access
from infra.launch.running import load_running
from infra.launch.stack import Stack
from infra.logs import start_logs
from infra.redaction import personal_data
from infra.rights import GATEWAY
from infra.settings import Settings
from infra.tracing import active_trace_id, tracing
from infra.worker import Report, worker_name
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.errors import ConfigurationError, MillraceError
from millrace.published import mask_with
from millrace.telemetry import Tracer
from streams import health
from streams.stores.objects import ContentStore

log = logging.getLogger(__name__)

_LOCAL_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
_NUMBER: Final = re.compile(r"gateway-(\d+)")


def gateway(
    *,
    name: Annotated[
        str, typer.Option("--name", help="Name of this replica, of its report and log", callback=worker_name)
    ] = "gateway",
    home: Annotated[Path | None, typer.Option("--home", help="Folder of the stack; .millrace")] = None,
) -> None:
    """Serve callers over HTTP until SIGTERM; then open streams are ended so that they go on at another replica."""
    settings = load_running(home).settings
    redact = start_logs(settings, trace_id=active_trace_id)
    mask_with(redact)
    report = Report(settings.home, name, redact)
    try:
        report.write("starting", "reading settings")
        check_open(settings)
        asyncio.run(serve(settings, report))
    except MillraceError as error:
        report.write("failed", str(error))
        log.error("gateway %s failed: %s", name, error)  # noqa: TRY400 - the message says what to do; a trace does not
        raise typer.Exit(2 if isinstance(error, ConfigurationError) else 1) from error
    except Exception as error:
        report.write("failed", f"{type(error).__name__}: {error}")
        log.exception("gateway %s failed", name)
        raise typer.Exit(1) from error


def check_open(settings: Settings) -> None:
    """Refuse to listen for others without a way to know who they are.

    Raises
    ------
    ConfigurationError
        The address is not loopback, and neither tokens nor keys are set up.
    """
    chosen = settings.gateway
    if chosen.local or chosen.tokens.jwks or _keys(settings):
        return
    raise ConfigurationError(
        f"gateway.host {chosen.host!r} can be reached by others, and nobody could log in: set gateway.tokens.jwks, or "
        "make a key with `python -m infra keys new`, or listen on 127.0.0.1"
    )


class _Running:
    """What the probes of whoever runs the process are told."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def ready(self) -> bool:
        return self._service.health.ready

    @property
    def alive(self) -> bool:
        return True

    def report(self) -> Mapping[str, Any]:
        found = self._service
        return {"pending_questions": found.admission.n_asking, "loop_lag_s": found.health.lag_s}


async def serve(settings: Settings, report: Report, routers: Sequence[Routers] | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises
    ------
    StackNotFound
        If nothing runs in the home folder.
    ConfigurationError
        It cannot listen as it is told to.
    Unavailable
        The broker does not answer.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running: list[_Running] = []
    async with health.serve(lambda: running[0] if running else None) as report.health_port:
        report.write("starting", "connecting")
        stack = await asyncio.to_thread(stack_of, settings)
        with tracing(settings.telemetry, instance=report.name, redact=report.redact) as spans:
            tracer = spans.tracer if spans is not None else None
            async with composed(settings, stack, report.name, tracer) as service:
                chosen = gateway_settings(settings)
                app = create_app(service, chosen, interfaces(settings) if routers is None else routers)
                async with listening(app, listening_of(settings, report.name)) as report.port:
                    running.append(_Running(service))
                    url = gateway_url(settings, report.port)
                    report.write("ready", url)
                    log.info("ready: %s", url)
                    await stop.wait()
                    log.info("stopping: open streams end, and go on elsewhere")
                    service.millrace.leave_questions()
                    await service.health.drain(chosen.drain_s)


@asynccontextmanager
async def composed(settings: Settings, stack: Stack, name: str, tracer: Tracer | None = None) -> AsyncIterator[Service]:
    """The parts of one replica, by settings."""
    connection = connection_of(settings, stack)
    codec = await asyncio.to_thread(codec_of, connection)
    settings.state.mkdir(parents=True, exist_ok=True)
    people = _people(settings)
    async with (
        embedding(settings, stack) as embedder,
        open_library(
            connection,
            table=settings.state / f"{name}.visibility.db",
            get=ContentStore(stack.objects).get,
            codec=codec,
            retention_s=settings.worker.version_retention_s,
        ) as library,
        assembled(
            connection,
            gateway_settings(settings),
            library=library,
            verifiers=verifiers_of(settings),
            secret=seal_secret(settings),
            replica=Replica(name=f"{name}@{settings.home}", reply_partition=_reply_partition(settings, name)),
            people=People(people) if people else None,
            embedder=embedder,
            tracer=tracer,
        ) as service,
    ):
        reviews = library.reviews
        if reviews is not None:
            reviews.write_with(service.millrace.produce)
        yield dataclasses.replace(service, reviews=reviews, quality=library.quality)


@asynccontextmanager
async def embedding(settings: Settings, stack: Stack) -> AsyncIterator[Embedder | None]:
    """What embeds texts for callers: the model that the documents are embedded with, unless the settings say no."""
    if not settings.gateway.openai.embeddings:
        yield None
        return
    async with open_embedder(settings, stack.address(model_server.NAME, "grpc")) as found:
        yield found


def interfaces(settings: Settings) -> Sequence[Routers]:
    """Interfaces beside the gateway's own."""
    mask = personal_data()
    return (*faces(mask), pages(_people(settings), mask))


def _people(settings: Settings) -> list[Person]:
    return [Person(name=each.name, tenant=each.tenant, groups=each.groups) for each in settings.gateway.people]


def connection_of(settings: Settings, stack: Stack) -> Connection:
    """How the gateway reaches the stack."""
    found = broker_connection(settings, stack.bootstrap, GATEWAY)
    return msgspec.structs.replace(
        found,
        objects=stack.objects,
        home=str(settings.home),
        log_epoch=stack.log_epoch,
        registry=registry_access(settings, stack.registry) if stack.registry else None,
        origin="gateway",
    )


def verifiers_of(settings: Settings) -> list[Verifier]:
    """Who vouches for callers.

    Raises
    ------
    ConfigurationError
        The keys of the identity provider are somewhere that cannot be read.
    """
    tokens = settings.gateway.tokens
    found: list[Verifier] = [ApiKeys(keys_path(settings))]
    if not tokens.jwks:
        return found
    try:
        verify = Tokens(
            Jwks(reader_of(tokens.jwks), again_s=tokens.again_s, max_age_s=tokens.max_age_s),
            issuer=tokens.issuer,
            audience=tokens.audience,
            algorithms=tuple(tokens.algorithms),
            claims=Claims(
                tenant=tokens.tenant_claim,
                user=tokens.user_claim,
                groups=tokens.groups_claim,
                scopes=tokens.scopes_claim,
                scope_prefix=tokens.scope_prefix,
                default_scopes=tokens.default_scopes,
            ),
            leeway_s=tokens.leeway_s,
        )
    except ValueError as error:
        raise ConfigurationError(f"setting gateway.tokens: {error}") from error
    return [*found, verify]


def gateway_settings(settings: Settings) -> GatewaySettings:
    """Settings of the gateway in its own plain form; what a tenant may is shared out, so that no sum exceeds it."""
    chosen = settings.gateway
    limits = chosen.limits
    shared = ("requests_per_minute", "tokens_per_minute", "documents_per_minute", "concurrent_per_tenant")
    replicas = max(1, chosen.count)
    values = {name: getattr(limits, name) for name in Limits.__struct_fields__}
    for name in shared:
        values[name] = values[name] and max(1, values[name] // replicas)
    return GatewaySettings(
        limits=Limits(**values),
        hosts=chosen.hosts or (_LOCAL_NAMES if chosen.local else ("*",)),
        cors_origins=chosen.cors_origins,
        heartbeat_s=chosen.heartbeat_s,
        default_timeout_s=chosen.default_timeout_s,
        resume_s=chosen.resume_s,
        drain_s=chosen.drain_timeout_ms / 1000,
        trust=chosen.trust,
        link_hosts=chosen.link_hosts,
        secure=chosen.tls_cert is not None or bool(chosen.proxies),
        reviewers=chosen.reviewers,
        public_url=chosen.public_url,
        openai=OpenAIPolicy(**chosen.openai.model_dump(exclude={"embeddings"})),
        graphql=Budget(**chosen.graphql.model_dump()),
    )


def listening_of(settings: Settings, name: str) -> Listening:
    """Where a replica listens; the ports of several follow each other."""
    chosen = settings.gateway
    port = chosen.port + _number(name) if chosen.port else 0
    return Listening(
        host=chosen.host,
        port=port,
        tls_cert=str(chosen.tls_cert or ""),
        tls_key=str(chosen.tls_key or ""),
        proxies=chosen.proxies,
        connections=chosen.limits.connections,
        head_timeout_s=chosen.limits.head_timeout_s,
    )


def _number(name: str) -> int:
    """Which replica of a launcher's it is, from 0."""
    found = _NUMBER.fullmatch(name)
    return int(found[1]) - 1 if found else 0


def _reply_partition(settings: Settings, name: str) -> int | None:
    """Replicas of a launcher spread over the partitions; others are spread by their random names."""
    return _number(name) % settings.partitions.reply if _NUMBER.fullmatch(name) else None


def _keys(settings: Settings) -> bool:
    try:
        return bool(read_keys(keys_path(settings)))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
