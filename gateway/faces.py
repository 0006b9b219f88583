"""The interfaces beside the gateway's own: OpenAI's, GraphQL, and tools for other models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gateway.graphql.routes import routes as graphql
from gateway.masking import Mask
from gateway.mcp.routes import routes as mcp
from gateway.openai.routes import routes as openai
from gateway.service import Routers


def faces(mask: Mask = str) -> Sequence[Routers]:
    """Interfaces for `create_app`.

    Parameters
    ----------
    mask : callable
        Hides personal data in the texts of documents, which answers do by themselves; shows all by default.
    """
    return (openai, partial(graphql, mask=mask), partial(mcp, mask=mask))
