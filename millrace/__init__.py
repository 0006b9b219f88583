"""Millrace: an LLM stack on an event log. What an app, a notebook or another service imports."""

from millrace.agent import AgentSpec, Batch, Result, agent, fuse
from millrace.errors import MillraceError
from millrace.event import Event, Meta
from millrace.topics import Topic

__all__ = ["AgentSpec", "Batch", "Event", "Meta", "MillraceError", "Result", "Topic", "agent", "fuse"]
__version__ = "0.1.0"
