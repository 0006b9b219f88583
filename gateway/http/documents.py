"""`/v1/documents`, `/v1/acl` and `/v1/receipts`: write documents and who may read them, and look what became of it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field

from gateway.callers import caller
from gateway.http.bodies import Body, described, json_body, read_body
from gateway.http.descriptions import problems
from gateway.http.receipts import receipt_of, receipt_token
from gateway.http.streams import unless_gone
from gateway.identity import Identity
from gateway.outcomes import outcome_of
from gateway.problems import Problem, missing
from gateway.service import Service
from gateway.settings import GatewaySettings
from gateway.trust import tier_of
from millrace.events.query import Receipt

_SOURCE: Final = "gateway"
_MAX_WAIT_S: Final = 60.0
_NAME: Final = r"^[^\x00-\x1f\x7f]+$"
Document = Annotated[str, Path(min_length=1, max_length=512, pattern=_NAME, description="Id of the document.")]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_NAME)]
Label = Annotated[
    str, Field(min_length=3, max_length=402, pattern=r"^[^=\x00-\x1f\x7f]{1,200}=[^\x00-\x1f\x7f]{1,200}$")
]
Wait = Annotated[float, Query(ge=0, le=_MAX_WAIT_S, description="Seconds to wait for the outcome.")]
_ANY_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The content itself; `Content-Type` says what it is: Markdown, HTML, PDF, Office, CSV, text.",
        "content": {"text/markdown": {"schema": {"type": "string"}}, "*/*": {"schema": {"format": "binary"}}},
    }
}


class Accepted(BaseModel):
    """A change that is on the log."""

    document: str
    receipt: str = Field(description="For `GET /v1/receipts/{receipt}`, and for `after` of a question.")


class OutcomeBody(BaseModel):
    """What became of a change."""

    document: str
    outcome: str = Field(
        description="`indexed`, `deleted`, `unchanged`, `superseded`, `rejected`, `failed`, or `access`; `pending` "
        "while there is none."
    )
    version: int = 0
    reason: str = ""
    message: str = ""
    n_chunks: int = 0


class DocumentBody(BaseModel):
    """A document that the caller may read."""

    document: str
    title: str
    version: int
    n_chunks: int
    labels: dict[str, str]
    groups: list[str]
    trust: str
    source: str
    language: str
    indexed_at_us: int


class DocumentList(BaseModel):
    """Some documents in order of their ids."""

    items: list[DocumentBody]
    next: str = Field(default="", description="Give it as `after` to have the following ones; empty at the end.")


class AccessBody(BaseModel):
    """Who may read a document."""

    document: str
    groups: list[str] = Field(description="`*` is everyone in the tenant; none is nobody.")


class GroupsBody(Body):
    """Groups."""

    groups: list[Name] = Field(max_length=256, description="Names of groups; `*` is everyone in the tenant.")


def routes(service: Service, settings: GatewaySettings) -> APIRouter:
    """Routes of documents."""
    router = APIRouter(prefix="/v1")
    _reading(router, service)
    _writing(router, service, settings)
    _access(router, service, settings)
    return router


def _reading(router: APIRouter, service: Service) -> None:
    read_scope = Depends(caller(service, "read"))

    @router.get(
        "/documents",
        response_model=DocumentList,
        responses=problems(401, 403, 422, 429, 503),
        tags=["documents"],
        operation_id="documents",
    )
    async def documents(
        identity: Identity = read_scope,
        text: Annotated[str, Query(max_length=200, description="Must occur in id or title.")] = "",
        after: Annotated[str, Query(max_length=4096, description="`next` of the page before.")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> DocumentList:
        """List the documents that the caller may read."""
        page = await service.library.documents(identity, text=text, after=after, limit=limit)
        items = [DocumentBody.model_validate(msgspec.to_builtins(each)) for each in page.items]
        return DocumentList(items=items, next=page.next)

    @router.get(
        "/documents/{document:path}",
        response_model=DocumentBody,
        responses=problems(401, 403, 404, 422, 429, 503),
        tags=["documents"],
        operation_id="document",
    )
    async def document(document: Document, identity: Identity = read_scope) -> DocumentBody:
        """Show one document, if the caller may read it."""
        found = await service.library.document(identity, document)
        if found is None:
            raise missing("document")
        return DocumentBody.model_validate(msgspec.to_builtins(found))

    @router.get(
        "/receipts/{receipt}",
        response_model=OutcomeBody,
        responses=problems(401, 403, 404, 422, 429, 503),
        tags=["documents"],
        operation_id="outcome",
    )
    async def outcome(
        request: Request,
        receipt: Annotated[str, Path(max_length=4096, description="Of a change of the caller's own.")],
        identity: Identity = read_scope,
        wait: Wait = 0.0,
    ) -> OutcomeBody:
        """Say what became of a change."""
        found = receipt_of(service.seals, identity, receipt)
        if found is None:
            raise missing("receipt")
        return await unless_gone(request, service, _outcome(service, identity, found, wait))


def _writing(router: APIRouter, service: Service, settings: GatewaySettings) -> None:
    write_scope = Depends(caller(service, "write"))

    @router.put(
        "/documents/{document:path}",
        status_code=202,
        response_model=Accepted,
        responses=problems(400, 401, 403, 404, 408, 413, 415, 422, 429, 503),
        openapi_extra=_ANY_BODY,
        tags=["documents"],
        operation_id="put_document",
    )
    async def put_document(
        request: Request,
        document: Document,
        identity: Identity = write_scope,
        title: Annotated[str, Query(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")] = "",
        groups: Annotated[
            list[Name] | None, Query(max_length=256, description="Who may read it; unchanged without.")
        ] = None,
        label: Annotated[list[Label], Query(max_length=64, description="`name=value`.")] = [],  # noqa: B006
        trust: Annotated[
            Literal["trusted", "untrusted"] | None, Query(description="No higher than the caller's own tier.")
        ] = None,
    ) -> Accepted:
        """Write a document; it is on the log when this answers, and visible once its outcome is `indexed`.

        Title, labels and groups are parts of the address, since the body is the document itself. Who may read it is
        changed with `groups` only by a caller that may change access.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if "/" not in kind or len(kind) > 200:
            raise Problem(
                415, "unsupported_media_type", "say with Content-Type what the body is, such as text/markdown"
            )
        if groups is not None and "access" not in identity.scopes:
            raise Problem(403, "forbidden", "this token or key may not say who reads a document")
        service.admission.write(identity)
        options: dict[str, Any] = {} if groups is None else {"groups": tuple(groups)}
        with service.admission.upload(request.headers.get("content-length", "")):
            receipt = await service.millrace.put_document(
                document,
                await read_body(request, settings.limits.document_bytes),
                tenant=identity.tenant,
                source=_SOURCE,
                title=title,
                labels=dict(each.split("=", 1) for each in label),
                media_type=kind,
                trust=tier_of(identity, settings, trust),
                **options,
            )
        return _accepted(service, identity, receipt)

    @router.delete(
        "/documents/{document:path}",
        status_code=202,
        response_model=Accepted,
        responses=problems(401, 403, 404, 422, 429, 503),
        tags=["documents"],
        operation_id="delete_document",
    )
    async def delete_document(document: Document, identity: Identity = write_scope) -> Accepted:
        """Delete a document; its outcome is `deleted`."""
        service.admission.write(identity)
        receipt = await service.millrace.delete_document(document, tenant=identity.tenant, source=_SOURCE)
        return _accepted(service, identity, receipt)


def _access(router: APIRouter, service: Service, settings: GatewaySettings) -> None:
    access_scope = Depends(caller(service, "access"))
    may_fail = problems(400, 401, 403, 404, 408, 413, 415, 422, 429, 503)

    @router.get(
        "/acl/{document:path}",
        response_model=AccessBody,
        responses=problems(401, 403, 404, 422, 429, 503),
        tags=["access"],
        operation_id="access",
    )
    async def access(document: Document, identity: Identity = access_scope) -> AccessBody:
        """Show who may read a document."""
        known = await service.millrace.document(document, tenant=identity.tenant)
        if known.groups is None:
            raise missing("document")
        return AccessBody(document=document, groups=list(known.groups))

    @router.put(
        "/acl/{document:path}",
        status_code=202,
        response_model=Accepted,
        responses=may_fail,
        openapi_extra=described(GroupsBody),
        tags=["access"],
        operation_id="set_access",
    )
    async def set_access(request: Request, document: Document, identity: Identity = access_scope) -> Accepted:
        """Let exactly these groups read a document."""
        service.admission.write(identity)
        body = await json_body(request, settings.limits, GroupsBody)
        receipt = await service.millrace.set_acl(document, body.groups, tenant=identity.tenant)
        return _accepted(service, identity, receipt)

    @router.post(
        "/acl/{change}/{document:path}",
        status_code=202,
        response_model=Accepted,
        responses=may_fail,
        openapi_extra=described(GroupsBody),
        tags=["access"],
        operation_id="change_access",
    )
    async def change_access(
        request: Request,
        change: Annotated[Literal["grant", "revoke"], Path()],
        document: Document,
        identity: Identity = access_scope,
    ) -> Accepted:
        """Let further groups read a document, or take that from groups."""
        service.admission.write(identity)
        body = await json_body(request, settings.limits, GroupsBody)
        work = service.millrace.grant if change == "grant" else service.millrace.revoke
        receipt = await work(document, body.groups, tenant=identity.tenant)
        return _accepted(service, identity, receipt)


def _accepted(service: Service, identity: Identity, receipt: Receipt) -> Accepted:
    return Accepted(document=receipt.document, receipt=receipt_token(service.seals, identity, receipt))


async def _outcome(service: Service, identity: Identity, receipt: Receipt, wait_s: float) -> OutcomeBody:
    found = await outcome_of(service, identity, receipt, wait_s)
    if found is None:
        return OutcomeBody(document=receipt.document, outcome="pending")
    return OutcomeBody(
        document=receipt.document,
        outcome=found.outcome,
        version=found.version,
        reason=found.reason,
        message=found.message,
        n_chunks=found.n_chunks,
    )
