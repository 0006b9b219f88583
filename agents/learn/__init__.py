"""What is learned from answers that were given: how good they were, why, what changed, and what to learn from."""

from agents.learn.attribution import attribute_stage
from agents.learn.curation import curate
from agents.learn.decisions import take_correction
from agents.learn.drift import detect_drift
from agents.learn.examples import propose_example
from agents.learn.quality import score_quality
from agents.learn.sessions import conclude_feedback
from agents.learn.signals import measure_signals

__all__ = [
    "attribute_stage",
    "conclude_feedback",
    "curate",
    "detect_drift",
    "measure_signals",
    "propose_example",
    "score_quality",
    "take_correction",
]
