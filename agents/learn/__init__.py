"""What is learned from answers that were given: how good they were, why, what changed, and what to learn from."""

from agents.learn.decisions import take_correction
from agents.learn.signals import measure_signals

__all__ = ["measure_signals", "take_correction"]
