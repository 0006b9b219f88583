"""``millrace acl``: who may read a document."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer

from millrace.cli.application import Json, Tenant, app, connection_of, groups_of, tenant_of
from millrace.cli.output import UsageError, note, say, show

acl_app = typer.Typer(help="Show and change who may read a document.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(acl_app, name="acl")

Document = Annotated[str, typer.Argument(help="Document id.")]
Groups = Annotated[list[str], typer.Argument(help="Groups; '*' is everyone in the tenant.")]


@acl_app.command("show", epilog="Example: millrace acl show guide/leave.md")
def show_acl(context: typer.Context, document: Document, tenant: Tenant = "", as_json: Json = False) -> None:
    """Show who may read a document."""
    tenant = tenant_of(context, tenant)
    known = asyncio.run(_known(context, tenant, document))
    if known.groups is None:
        data = {"tenant": tenant, "document": document, "groups": None, "acl_version": 0}
        show(data, lambda: say(f"{document}: no access was ever written, so nobody may read it"), as_json=as_json)
        return
    data = {"tenant": tenant, "document": document, "groups": known.groups, "acl_version": known.acl_version}
    readers = ", ".join(known.groups) or "nobody"
    show(data, lambda: say(f"{document}: {readers} (access version {known.acl_version})"), as_json=as_json)


@acl_app.command(epilog="Example: millrace acl grant guide/leave.md staff contractors")
def grant(
    context: typer.Context, document: Document, groups: Groups, tenant: Tenant = "", as_json: Json = False
) -> None:
    """Let further groups read a document."""
    _change(context, "grant", document, groups, tenant, as_json=as_json)


@acl_app.command(epilog="Example: millrace acl revoke guide/leave.md contractors")
def revoke(
    context: typer.Context, document: Document, groups: Groups, tenant: Tenant = "", as_json: Json = False
) -> None:
    """Take the right to read a document from groups; it takes effect as fast as one event travels."""
    _change(context, "revoke", document, groups, tenant, as_json=as_json)


@acl_app.command("set", epilog="Example: millrace acl set guide/leave.md staff")
def set_acl(
    context: typer.Context,
    document: Document,
    groups: Annotated[list[str] | None, typer.Argument(help="Exactly these groups; none means nobody.")] = None,
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """Say exactly which groups may read a document."""
    _change(context, "set_acl", document, groups or (), tenant, as_json=as_json)


def _change(
    context: typer.Context,
    action: Literal["grant", "revoke", "set_acl"],
    document: str,
    groups: Sequence[str],
    tenant: str,
    *,
    as_json: bool,
) -> None:
    from millrace import receipts

    names = groups_of(groups) or ()
    if not names and action != "set_acl":
        raise UsageError("name at least one group")
    tenant = tenant_of(context, tenant)
    receipt, known = asyncio.run(_write(context, action, document, names, tenant))
    if not known.version:
        note(f"the log has no document {document!r} of tenant {tenant!r} yet; what was written holds once it comes")
    token = receipts.encode([receipt])
    data = {
        "tenant": tenant,
        "document": document,
        "groups": known.groups,
        "acl_version": receipt.acl_version,
        "receipt": token,
    }

    def render() -> None:
        say(f"{document}: {', '.join(known.groups or ()) or 'nobody'} (access version {receipt.acl_version})")
        say(f"receipt: {token}")

    show(data, render, as_json=as_json)


async def _write(context: typer.Context, action: str, document: str, groups: Sequence[str], tenant: str) -> Any:
    from millrace.client import Millrace

    async with Millrace(connection_of(context), tenant=tenant) as client:
        receipt = await getattr(client, action)(document, groups)
        return receipt, client.known.get(tenant, document)


async def _known(context: typer.Context, tenant: str, document: str) -> Any:
    from millrace.ingest.known import KnownDocuments

    return await asyncio.to_thread(KnownDocuments(connection_of(context)).refresh_document, tenant, document)
