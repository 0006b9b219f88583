"""From what a person names to sources: a path is a folder or a file, and the scheme of a URL says what it is."""

import contextlib
import ipaddress
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from millrace.errors import InputRejected
from millrace.ingest.addresses import shown, split
from millrace.ingest.extras import part
from millrace.ingest.folder import FolderSource
from millrace.ingest.homes import Home
from millrace.ingest.memory import Memory
from millrace.ingest.source import Source
from millrace.ingest.walk import Rules

_WEB: Final = frozenset({"http", "https"})
_STORES: Final = frozenset({"s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "file", "memory"})


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to ingest and how.

    Attributes
    ----------
    paths : tuple of Path or str
        Folders and files, pages and feeds, object stores, databases.
    source : str
        Name of the source that owns the documents; empty to take that of the folder, host, bucket or table.
    groups : tuple of str or None
        Groups that may read the documents. None leaves documents that have groups as they are; a new one gets those of
        the connection, or what its source has instead.
    prefix : str
        Put before each id, with a slash, so that two sources can share a tenant.
    sync : bool
        Delete documents of the source that are gone there.
    confirmed : bool
        Delete even more than a fifth of the source.
    retry : bool
        Send documents again that were rejected as they are.
    wait : bool
        Follow every change to its outcome.
    goes_on : bool
        Hold deletions back that need a confirmation, instead of doing nothing.
    memory : Path or None
        Where sources that are no folders note what they need not read again; None for nowhere.
    allowed : tuple of str
        Networks that are not public and from which pages may be read all the same, as ``10.1.0.0/16``.
    table : str
        Table of the database.
    columns : dict of str to str
        What its columns mean: ``cursor``, ``key`` (several with commas), ``content``, ``title``, ``deleted``.
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
    retry: bool = False
    wait: bool = False
    goes_on: bool = False
    memory: Path | None = None
    allowed: tuple[str, ...] = ()
    table: str = ""
    columns: dict[str, str] = {}
    quiet_s: float = 0.0


@contextlib.asynccontextmanager
async def open_sources(plan: Plan) -> AsyncIterator[Sequence[Source]]:
    """The sources of a plan, closed at the end.

    Raises
    ------
    InputRejected
        A path does not exist, or a URL means nothing.
    ConfigurationError
        What a source needs is not installed.
    """
    async with contextlib.AsyncExitStack() as stack:
        sources = []
        for source in _sources(plan):
            stack.push_async_callback(source.close)
            sources.append(source)
        yield sources


def scheme_of(path: Path | str) -> str:
    """Scheme of a URL; empty for a path."""
    scheme, found, _ = path.partition("://") if isinstance(path, str) else ("", "", "")
    return scheme.lower() if found else ""


def _sources(plan: Plan) -> Iterator[Source]:
    schemes = {scheme_of(path) for path in plan.paths}
    if (plan.rules.include or plan.rules.exclude) and schemes - _STORES - {""}:
        raise InputRejected("--include and --exclude choose files and objects; ingest pages and tables without them")
    if (plan.table or plan.columns) and not schemes - _STORES - _WEB - {""}:
        raise InputRejected("--table and --column say what to read of a database; name its URL, or leave them out")
    pages: dict[str, list[str]] = {}
    folders: list[FolderSource] = []
    for path in plan.paths:
        scheme = scheme_of(path)
        if scheme in _WEB:
            pages.setdefault(plan.source or _host(str(path)), []).append(str(path))
        elif scheme in _STORES:
            yield _bucket(str(path), plan)
        elif scheme:
            yield _table(str(path), plan)
        else:
            folders.append(FolderSource(Path(path), plan.rules, plan.prefix, name=plan.source, quiet_s=plan.quiet_s))
    for name, urls in pages.items():
        yield _web(name, urls, plan)
    if not plan.source:
        for folder in folders:
            roots = {other.root for other in folders if other.name == folder.name}
            folder.home = Home(plan.memory, plan.tenant, folder.name, plan.prefix, roots)
    yield from folders


def _host(url: str) -> str:
    parts = split(url)
    if "@" in parts.netloc:
        raise InputRejected(f"{shown(url)} names a user; pages are read without a password, so leave it out")
    if not parts.hostname:
        raise InputRejected(f"{shown(url)!r} names no host; write it as {parts.scheme}://host/path")
    return parts.hostname


def _web(name: str, urls: Sequence[str], plan: Plan) -> Source:
    try:
        allowed = [ipaddress.ip_network(network) for network in plan.allowed]
    except ValueError as error:
        raise InputRejected(f"--allow-network: {error}; write an address or a network, such as 10.1.0.0/16") from error
    fetcher = part("fetching", "web").Fetcher(allowed)
    memory = Memory(plan.memory, plan.tenant, name)
    found: Source = part("web", "web").WebSource(
        urls, fetcher, memory, name=name, prefix=plan.prefix, max_bytes=plan.rules.max_bytes
    )
    return found


def _bucket(url: str, plan: Plan) -> Source:
    parts = split(url)
    name = plan.source or parts.netloc.rpartition("@")[2] or PurePosixPath(parts.path).name or parts.scheme
    memory = Memory(plan.memory, plan.tenant, f"{name} {shown(url)}")
    buckets = part("buckets", "objects")
    found: Source = buckets.BucketSource(
        buckets.open_store(url), memory, name=name, rules=plan.rules, prefix=plan.prefix
    )
    return found


def _table(url: str, plan: Plan) -> Source:
    parts = split(url)
    if not plan.table:
        raise InputRejected(f"{parts.scheme}:// is read as a database; name its table: --table NAME")
    name = plan.source or f"{PurePosixPath(parts.path).stem or parts.scheme}.{plan.table}"
    memory = Memory(plan.memory, plan.tenant, f"{name} {sorted(plan.columns.items())}")
    tables = part("tables", "sql")
    given = {key: value for key, value in plan.columns.items() if key != "key"}
    key = tuple(filter(None, plan.columns.get("key", "").split(",")))
    found: Source = tables.TableSource(
        url,
        plan.table,
        tables.Columns(key=key, **given),
        memory,
        name=name,
        prefix=plan.prefix,
        max_bytes=plan.rules.max_bytes,
    )
    return found
