"""Millrace: an LLM stack on an event log. What an app, a notebook or another service imports.

In reading order: `event`, `schema`, `topics` and `keys` say what an event is and where it goes; `codec` turns it into a
record; `events` holds Millrace's own. `agent` declares what handles events, `invoke` calls it, `testing` runs it in
memory. `connection` (with `config_file`) finds a stack; `client` and `sync_client` write, ask and wait; `reader` reads
the log, `dead_letters` and `lineage` what happened in it. `ingest` sends folders, `cli` is the ``millrace`` command,
`diagnosis` its doctor. `errors` is the one tree of errors.
"""

from millrace.agent import AgentSpec, Batch, Result, agent, fuse
from millrace.errors import MillraceError
from millrace.event import Event, Meta
from millrace.topics import Topic

__all__ = ["AgentSpec", "Batch", "Event", "Meta", "MillraceError", "Result", "Topic", "agent", "fuse"]
__version__ = "0.1.0"
