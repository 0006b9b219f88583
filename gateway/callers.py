"""Who calls: the dependency that every route with an identity has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from gateway.identity import Identity, Scope
from gateway.service import Service

BEARER: Final = HTTPBearer(
    scheme_name="token",
    description="A JSON Web Token of the identity provider, or an API key (`mr_...`).",
    auto_error=False,
)
KEY: Final = APIKeyHeader(
    name="X-API-Key", scheme_name="key", description="An API key of a service (`mr_...`).", auto_error=False
)


def caller(service: Service, scope: Scope) -> Callable[..., Awaitable[Identity]]:
    """Dependency that gives the verified caller, or ends the request with 401, 403 or 429.

    Parameters
    ----------
    service : Service
        Knows tokens and keys.
    scope : {"ask", "write", "access", "read"}
        What the caller has to be allowed.
    """

    async def identity(
        request: Request, _bearer: Annotated[Any, Security(BEARER)], _key: Annotated[Any, Security(KEY)]
    ) -> Identity:
        return await service.identify(request, scope)

    return identity
