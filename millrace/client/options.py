"""Keyword arguments that the asynchronous and the sync client share."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypedDict

from millrace.client.asking import Question
from millrace.client.documents import Change, canonical, named
from millrace.events.query import Receipt


class AskOptions(TypedDict, total=False):
    """How to ask.

    Attributes
    ----------
    tenant : str
        Whose corpus; the client's tenant by default.
    user, groups : str, collection of str
        Who asks. Whoever may write to the topics is trusted with the groups it names.
    after : Receipt or sequence of Receipt
        Changes whose outcomes must be visible to this question.
    conversation : str
        Conversation it belongs to; its answers never go back in time. A new one by default.
    watermark : str
        The ``watermark`` of an earlier answer that this one must not go back behind, where another client asked for
        it; within one client the conversation knows its own.
    labels : mapping of str to str
        Only documents with these labels.
    top_k : int, default 10
        How many chunks to retrieve.
    exact : bool
        Search the visible set exhaustively.
    explain : bool
        Report what was dropped and why.
    timeout_s : float, default 30
        Time allowed, in seconds.
    mode : {"answer", "search"}
        Read an answer, or only retrieve.
    """

    tenant: str
    user: str
    groups: Collection[str]
    after: Receipt | Sequence[Receipt]
    conversation: str
    watermark: str
    labels: Mapping[str, str]
    top_k: int
    exact: bool
    explain: bool
    timeout_s: float
    mode: Literal["answer", "search"]


class PutOptions(TypedDict, total=False):
    """How to write a document.

    Attributes
    ----------
    tenant : str
        Whose document; the client's tenant by default.
    groups : collection of str
        Who may read it, ``*`` for everyone in the tenant; written first, and only when it changed. Without it access
        stays as it is, and a document without any is read by nobody.
    version, acl_version : int
        Where your source numbers its versions; otherwise the newest one in the log + 1. Two writers of one document
        must not both leave it to the log.
    source_epoch : int
        Grows when your source starts its versions anew.
    source : str, default "app"
        Name of the source that owns the document's versions.
    title : str
        Title, where the source knows one; otherwise it is taken from the content.
    labels : mapping of str to str
        Labels to filter by.
    media_type : str, default "text/markdown"
        Media type of the content.
    trust : {"trusted", "untrusted"}
        Trust tier of the source.
    """

    tenant: str
    groups: Collection[str]
    version: int
    acl_version: int
    source_epoch: int
    source: str
    title: str
    labels: Mapping[str, str]
    media_type: str
    trust: Literal["trusted", "untrusted"]


def question_of(text: str, tenant: str, options: AskOptions) -> Question:
    """Question of a call's arguments."""
    after = options.get("after", ())
    return Question(
        text=text,
        tenant=options.get("tenant") or tenant,
        user=options.get("user", ""),
        groups=canonical(options.get("groups", ())),
        mode=options.get("mode", "answer"),
        after=(after,) if isinstance(after, Receipt) else tuple(after),
        conversation=options.get("conversation", ""),
        watermark=options.get("watermark", ""),
        labels=options.get("labels", {}),
        top_k=options.get("top_k", 10),
        exact=options.get("exact", False),
        explain=options.get("explain", False),
        timeout_s=options.get("timeout_s", 30.0),
    )


def change_of(document: str, content: str | bytes | None, tenant: str, options: PutOptions) -> Change:
    """Change of a call's arguments."""
    groups = options.get("groups")
    return Change(
        tenant=options.get("tenant") or tenant,
        document=document,
        content=content.encode() if isinstance(content, str) else content,
        source=options.get("source", "app"),
        media_type=options.get("media_type", "text/markdown"),
        title=options.get("title", ""),
        labels=options.get("labels", {}),
        trust=options.get("trust", "trusted"),
        groups=None if groups is None else named(groups),
        version=options.get("version"),
        acl_version=options.get("acl_version"),
        source_epoch=options.get("source_epoch", 0),
    )
