"""`/health/live`, `/health/ready` and `/metrics`."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from gateway.http.descriptions import problems
from gateway.metrics import CONTENT_TYPE
from gateway.problems import Problem
from gateway.service import Service
from gateway.settings import GatewaySettings


def routes(service: Service, _: GatewaySettings) -> APIRouter:
    """Routes for whoever runs the gateway."""
    router = APIRouter(tags=["operations"])

    @router.get("/health/live", operation_id="live")
    async def live() -> Response:
        """Whether the process answers."""
        return JSONResponse({"state": "live"})

    @router.get("/health/ready", responses=problems(503), operation_id="ready")
    async def ready() -> Response:
        """Whether requests are taken."""
        if not service.health.ready:
            raise Problem(503, "not_ready", service.health.why_not, retry_after_s=2)
        return JSONResponse({"state": "ready"})

    @router.get(
        "/metrics",
        operation_id="metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Counts, for Prometheus."""
        return Response(service.metrics.render(), media_type=CONTENT_TYPE)

    return router
