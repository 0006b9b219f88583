"""The pump: an agent on a topic, at least once, in order per key."""

from streams.pump.pump import Prepare, Pump
from streams.pump.settings import Counters, PumpSettings

__all__ = ["Counters", "Prepare", "Pump", "PumpSettings"]
