"""The visibility table: what a question may see, folded from the log, now and as of earlier."""

from streams.visibility.table import VisibilityTable

__all__ = ["VisibilityTable"]
