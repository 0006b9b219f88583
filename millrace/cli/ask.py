"""``millrace ask`` and ``millrace search``."""

import asyncio
import sys
from typing import Annotated, Any

import typer

from millrace.cli.application import Json, Tenant, app, connection_of, groups_of, pairs
from millrace.cli.conversations import Conversations
from millrace.cli.output import UsageError, document, one_line, plain, say, show, table

User = Annotated[str, typer.Option("--as", help="User who asks.")]
Groups = Annotated[list[str] | None, typer.Option(help="Groups of the user; repeatable.")]
After = Annotated[list[str] | None, typer.Option(help="Receipt whose change must be visible first; repeatable.")]
Label = Annotated[list[str] | None, typer.Option(help="NAME=VALUE: only documents with it; repeatable.")]
TopK = Annotated[int, typer.Option("--top-k", min=1, help="How many chunks to retrieve; workers refuse more than 100.")]
Exact = Annotated[bool, typer.Option("--exact", help="Search everything visible, without the index.")]
Explain = Annotated[bool, typer.Option("--explain", help="Say what was found, what was dropped and why.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds allowed.")]


@app.command(epilog='Example: millrace ask "How long is parental leave?" --as ada --groups staff')
def ask(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="The question.")],
    tenant: Tenant = "",
    user: User = "",
    groups: Groups = None,
    after: After = None,
    label: Label = None,
    conversation: Annotated[
        str, typer.Option(help="Conversation it belongs to; its answers never go back in time.")
    ] = "",
    watermark: Annotated[
        str, typer.Option(help="Watermark of an earlier answer that this one must not go back behind.")
    ] = "",
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it grows.")] = False,
    top_k: TopK = 10,
    exact: Exact = False,
    explain: Explain = False,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Ask a question; the answer quotes the passages it was read from."""
    options = _options(tenant, user, groups, after, label, top_k, exact, explain, timeout)
    connection = connection_of(context)
    kept, owner = Conversations(connection), tenant or connection.tenant
    options["conversation"] = conversation
    options["watermark"] = watermark or (kept.last(owner, conversation) if conversation else "")
    ask_it = _stream if stream and not as_json else _ask
    answer = asyncio.run(ask_it(context, question, options))
    if conversation:
        kept.note(owner, conversation, answer.watermark)
    if stream and not as_json:
        _render_rest(answer, explain=explain)
    else:
        show(answer, lambda: _render(answer, explain=explain), as_json=as_json)


@app.command(epilog='Example: millrace search "parental leave" --top-k 5 --explain')
def search(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="What to look for.")],
    tenant: Tenant = "",
    user: User = "",
    groups: Groups = None,
    after: After = None,
    label: Label = None,
    top_k: TopK = 10,
    exact: Exact = False,
    explain: Explain = False,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Show the best chunks that the asker may see, without reading an answer from them."""
    options = _options(tenant, user, groups, after, label, top_k, exact, explain, timeout)
    options["mode"] = "search"
    answer = asyncio.run(_ask(context, question, options))
    if as_json:
        document(answer)
        return
    _render_hits(answer, explain=explain)
    say(f"trace {answer.trace_id} · {answer.latency_ms:.0f} ms")


def _options(
    tenant: str,
    user: str,
    groups: list[str] | None,
    after: list[str] | None,
    label: list[str] | None,
    top_k: int,
    exact: bool,
    explain: bool,
    timeout: float,
) -> dict[str, Any]:
    from millrace import receipts

    return {
        "tenant": tenant,
        "user": user,
        "groups": groups_of(groups) or (),
        "after": [receipt for token in after or () for receipt in receipts.decode(token)],
        "labels": pairs(label),
        "top_k": top_k,
        "exact": exact,
        "explain": explain,
        "timeout_s": timeout,
    }


async def _ask(context: typer.Context, question: str, options: dict[str, Any]) -> Any:
    from millrace.client import Millrace

    if not question.strip():
        raise UsageError("the question is empty; ask something")
    async with Millrace(connection_of(context)) as client:
        return await client.ask(question, **options)


async def _stream(context: typer.Context, question: str, options: dict[str, Any]) -> Any:
    from millrace.client import Answer, Millrace

    attempt, written = 0, ""
    async with Millrace(connection_of(context)) as client:
        async for part in client.ask_stream(question, **options):
            if isinstance(part, Answer):
                if plain(part.text) != written:  # nothing was streamed, or it ended otherwise than it grew
                    sys.stdout.write(("\n\n" if written else "") + plain(part.text))
                sys.stdout.write("\n")
                return part
            if part.attempt > attempt and written:
                sys.stdout.write("\n(started anew)\n")
                written = ""
            attempt = part.attempt
            written += plain(part.text)
            sys.stdout.write(plain(part.text))
            sys.stdout.flush()
    return None


def _render(answer: Any, *, explain: bool) -> None:
    say(answer.text or "Not in the documents you may see.")
    _render_rest(answer, explain=explain)


def _render_rest(answer: Any, *, explain: bool) -> None:
    for number, citation in enumerate(answer.citations, 1):
        where = f"{citation.document}#{citation.heading}" if citation.heading else citation.document
        say(f"[{number}] {one_line(where)} (version {citation.version}): {one_line(citation.quote, 200)}")
    if explain:
        _render_hits(answer, explain=True)
    cost = f" · ${answer.cost_usd:.4f}" if answer.cost_usd else " · no cost"
    say(f"trace {answer.trace_id} · {answer.latency_ms:.0f} ms{cost}")


def _render_hits(answer: Any, *, explain: bool) -> None:
    rows = [
        (
            hit.rank,
            f"{hit.score:.4f}",
            f"{hit.dense:.4f}",
            f"{hit.lexical:.3f}",
            f"{hit.sentence:.4f}",
            hit.document,
            hit.version,
            hit.chunk_id,
        )
        for hit in answer.hits
    ]
    if rows:
        table(("#", "# score", "# dense", "# lexical", "# sentence", "document", "# version", "chunk"), rows)
    else:
        say("nothing found that you may see")
    if explain:
        dropped = ", ".join(f"{entry.n} {entry.reason}" for entry in answer.dropped)
        say(f"dropped: {dropped or 'nothing'}")
        if answer.timings_ms:
            say("stages: " + ", ".join(f"{one_line(name)} {ms:.1f} ms" for name, ms in answer.timings_ms.items()))
        say(f"watermark: {answer.watermark}")
