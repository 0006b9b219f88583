"""The gateway under measurement: the application that callers are given, served on loopback from this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from bench.lab import Lab
from bench.manual import TENANT
from gateway.app import create_app
from gateway.serving import listening
from infra.gateway import composed, gateway_settings, interfaces, listening_of
from infra.launch.stack import read_stack
from infra.settings import GatewaySettings, ModelSettings, Settings, load
from infra.settings.gateway import LimitSettings, PersonSettings
from millrace.connection import Connection
from millrace.errors import StackNotFound

_NAME = "gateway"
_TIMEOUT_S = 60.0


@asynccontextmanager
async def serving(lab: Lab, connection: Connection) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of the gateway of a stack that runs here; it may ask as often as it likes.

    Raises
    ------
    StackNotFound
        If no stack runs in the connection's home folder.
    """
    home = Path(connection.home)
    stack = read_stack(home)
    if stack is None:
        raise StackNotFound(f"no stack runs in {home}; start it with `running_stack` first")
    settings = Settings(
        home=home,
        profile=lab.profile,
        cache=load().settings.cache,
        models=ModelSettings(embedder="hashing"),
        gateway=GatewaySettings(
            people=(PersonSettings(name="ada", tenant=TENANT),),
            limits=LimitSettings(requests_per_minute=0, tokens_per_minute=0),
        ),
    )
    async with composed(settings, stack, _NAME) as service:
        app = create_app(service, gateway_settings(settings), interfaces(settings))
        async with (
            listening(app, listening_of(settings, _NAME)) as port,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers={"X-Demo-Person": "ada"}, timeout=_TIMEOUT_S
            ) as caller,
        ):
            yield caller
