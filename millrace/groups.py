"""The one group that means something by its name; every other name means what a tenant makes of it."""

from typing import Final

EVERYONE: Final = "*"
"""Everyone in the tenant: in force for whoever asks, whatever a token says."""
