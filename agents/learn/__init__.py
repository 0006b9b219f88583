"""What is learned from answers that were given: how good they were, why, what changed, and what to learn from."""

from agents.learn.attribution import attribute_stage
from agents.learn.quality import score_quality
from agents.learn.signals import measure_signals

__all__ = ["attribute_stage", "measure_signals", "score_quality"]
