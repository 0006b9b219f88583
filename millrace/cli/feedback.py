"""``millrace feedback``: say what an answer was like."""

import asyncio
from typing import Annotated, Any

import typer

from millrace.cli.application import Json, Tenant, app, connection_of, tenant_of
from millrace.cli.output import say, show


@app.command(epilog='Example: millrace feedback 4bf92f3577b34da6a3ce929d0e0e4736 --down --comment "out of date"')
def feedback(
    context: typer.Context,
    answer: Annotated[str, typer.Argument(help="Trace or correlation id, as `millrace ask` prints it.")],
    up: Annotated[bool, typer.Option("--up", help="The answer helped.")] = False,
    down: Annotated[bool, typer.Option("--down", help="The answer did not help.")] = False,
    rating: Annotated[int, typer.Option(min=0, max=5, help="1 (useless) to 5 (right).")] = 0,
    correct: Annotated[str, typer.Option("--correct", help="What the answer should have been.")] = "",
    comment: Annotated[str, typer.Option(help="Anything else, alone or with --up, --down or --rating.")] = "",
    user: Annotated[str, typer.Option("--as", help="User who says it.")] = "",
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """Say what an answer was like: it is judged by it, learned from, and a person looks at what was poor."""
    options = {"up": up, "down": down, "rating": rating, "correction": correct, "comment": comment, "user": user}
    produced = asyncio.run(_give(context, answer, tenant_of(context, tenant), options))
    data = {"id": produced.id, "position": str(produced.origin)}
    show(data, lambda: say(f"noted: {produced.origin}"), as_json=as_json)


async def _give(context: typer.Context, answer: str, tenant: str, options: dict[str, Any]) -> Any:
    from millrace.client import Millrace

    async with Millrace(connection_of(context), tenant=tenant) as client:
        return await client.feedback(answer, **options)
