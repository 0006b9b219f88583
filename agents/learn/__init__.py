"""What is learned from answers that were given: how good they were, why, what changed, and what to learn from."""

from agents.learn.drift import detect_drift
from agents.learn.signals import measure_signals

__all__ = ["detect_drift", "measure_signals"]
