"""The library over the log: documents by the visibility table, questions and answers by their own tails."""

from gateway.reading.log_library import LogLibrary
from gateway.reading.opening import open_library

__all__ = ["LogLibrary", "open_library"]
