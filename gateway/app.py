"""The application: its own routes, those of other interfaces, and what every request passes."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from gateway import problems
from gateway.guarding import RATE, Guard
from gateway.http import documents, feedback, operations, questions, reviews
from gateway.http.descriptions import describe
from gateway.service import Routers, Service
from gateway.settings import GatewaySettings

_VERSION = "1"
_OWN: tuple[Routers, ...] = (
    questions.routes,
    feedback.routes,
    documents.routes,
    reviews.routes,
    operations.routes,
)


def create_app(service: Service, settings: GatewaySettings, routers: Sequence[Routers] = ()) -> FastAPI:
    """Make the gateway's application.

    Parameters
    ----------
    service : Service
        The parts it works with; started and stopped by whoever made them.
    settings : GatewaySettings
        Limits, names, origins.
    routers : sequence of callable
        Further interfaces, each given both and included as it is.
    """
    app = FastAPI(
        title="Millrace",
        version=_VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        max_body_size=settings.limits.document_bytes,
    )
    app.state.service = service
    problems.install(app)
    for make in (*_OWN, *routers):
        app.include_router(make(service, settings))
    describe(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "Last-Event-ID"],
            expose_headers=["RateLimit", "RateLimit-Policy", "Retry-After"],
        )
    app.add_middleware(Guard, settings=settings, metrics=service.metrics)
    return app


__all__ = ["RATE", "create_app"]
