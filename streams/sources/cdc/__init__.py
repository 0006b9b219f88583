"""Change capture: what Debezium says about rows of Postgres becomes SourceChanged and AclChanged.

`mapping` says what tables and columns mean, `envelope` reads Debezium's records, `rows` makes documents of rows, and
`capture` is the agent that puts them together.
"""

from streams.sources.cdc.capture import CapturePorts, capture_agent, capture_topics
from streams.sources.cdc.envelope import Position, RowChanged
from streams.sources.cdc.mapping import CaptureMapping, TableMapping, read_mapping

__all__ = [
    "CaptureMapping",
    "CapturePorts",
    "Position",
    "RowChanged",
    "TableMapping",
    "capture_agent",
    "capture_topics",
    "read_mapping",
]
