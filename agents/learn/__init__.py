"""What is learned from answers that were given: how good they were, why, what changed, and what to learn from."""

from agents.learn.curation import curate
from agents.learn.decisions import take_correction
from agents.learn.drift import detect_drift
from agents.learn.examples import propose_example
from agents.learn.sessions import conclude_feedback
from agents.learn.signals import measure_signals

__all__ = ["conclude_feedback", "curate", "detect_drift", "measure_signals", "propose_example", "take_correction"]
