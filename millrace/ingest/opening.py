"""From what a person names to sources: a path is a folder or a file, and the scheme of a URL says what it is."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from millrace.ingest.folder import FolderSource
from millrace.ingest.source import Source
from millrace.ingest.walk import Rules


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to ingest and how.

    Attributes
    ----------
    paths : tuple of Path or str
        Folders and files.
    source : str
        Name of the source that owns the documents; empty to take that of the folder.
    groups : tuple of str or None
        Groups that may read the documents. None gives those of the connection to a document
        that has no access yet and leaves others.
    prefix : str
        Put before each id, with a slash, so that two sources can share a tenant.
    sync : bool
        Delete documents of the source that are gone there.
    confirmed : bool
        Delete even more than a fifth of the source.
    wait : bool
        Follow every change to its outcome.
    goes_on : bool
        Hold deletions back that need a confirmation, instead of doing nothing.
    quiet_s : float
        Put off files that were written less than this long ago, in seconds; 0 takes them as they stand.
    """

    paths: tuple[Path | str, ...]
    tenant: str = "default"
    source: str = ""
    groups: tuple[str, ...] | None = None
    labels: dict[str, str] = {}
    prefix: str = ""
    rules: Rules = Rules()
    sync: bool = False
    confirmed: bool = False
    wait: bool = False
    goes_on: bool = False
    quiet_s: float = 0.0


@contextlib.asynccontextmanager
async def open_sources(plan: Plan) -> AsyncIterator[Sequence[Source]]:
    """The sources of a plan, closed at the end.

    Raises
    ------
    InputRejected
        A path does not exist.
    """
    async with contextlib.AsyncExitStack() as stack:
        sources = []
        for path in plan.paths:
            source = _open(path, plan)
            stack.push_async_callback(source.close)
            sources.append(source)
        yield sources


def _open(path: Path | str, plan: Plan) -> Source:
    return FolderSource(Path(path), plan.rules, plan.prefix, name=plan.source, quiet_s=plan.quiet_s)
