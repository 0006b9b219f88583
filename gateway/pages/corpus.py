"""Corpus: the documents that the visitor may read, their versions and texts, and what was answered from them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from gateway.masking import beginning, titled
from gateway.pages.rendering import Site
from gateway.pages.text import WINDOW_CHARS, passage
from gateway.problems import missing
from gateway.service import Service
from gateway.settings import GatewaySettings

_A_PAGE: Final = 25
_MAX_ID: Final = 1024
_MAX_ANSWERS: Final = 20
_LONGEST: Final = 300
Id = Annotated[str, Query(alias="id", min_length=1, max_length=_MAX_ID)]
Place = Annotated[int | None, Query(ge=0, le=1_000_000_000)]


def add(router: APIRouter, site: Site, service: Service, _settings: GatewaySettings) -> None:
    """Add the pages of documents."""
    library = service.library

    @router.get("/corpus")
    async def documents(
        request: Request,
        text: Annotated[str, Query(alias="q", max_length=_MAX_ID)] = "",
        after: Annotated[str, Query(max_length=8192)] = "",
    ) -> Response:
        visitor = await site.visitor(request)
        found = await library.documents(visitor.identity, text=text.strip(), after=after, limit=_A_PAGE)
        items = await asyncio.to_thread(lambda: [titled(each, site.mask) for each in found.items])
        return site.page(request, "corpus.html", visitor, found=found, items=items, text=text.strip(), after=after)

    @router.get("/corpus/document")
    async def document(
        request: Request,
        document: Id,
        version: Annotated[int | None, Query(ge=0)] = None,
        start: Place = None,
        end: Place = None,
        at: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    ) -> Response:
        visitor = await site.visitor(request)
        identity = visitor.identity
        found = await library.document(identity, document)
        if found is None:
            raise missing("document that you may read")
        wanted = found.version if version is None else version
        source = await library.source(identity, document, wanted)
        # Masking looks at every word: not on the event loop.
        shown = await asyncio.to_thread(passage, source.text, start, end, site.mask, at) if source is not None else None
        answers = await library.answers_from(identity, document, limit=_MAX_ANSWERS)
        asked = {each.correlation: each.question for each in await library.questions(identity, limit=200)}
        names = {each.correlation: asked.get(each.correlation, each.text) for each in answers}
        names = await asyncio.to_thread(
            lambda: {name: beginning(text, site.mask, _LONGEST) for name, text in names.items()}
        )
        return site.page(
            request,
            "document.html",
            visitor,
            found=await asyncio.to_thread(titled, found, site.mask),
            versions=await library.versions(identity, document),
            wanted=wanted,
            source=source,
            passage=shown,
            spanned=start is not None and end is not None,
            window=WINDOW_CHARS,
            answers=answers,
            names=names,
        )
