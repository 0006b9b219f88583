"""What is learned from answers that were given: how good they were, why, what changed, and what to learn from."""

from agents.learn.sessions import conclude_feedback
from agents.learn.signals import measure_signals

__all__ = ["conclude_feedback", "measure_signals"]
