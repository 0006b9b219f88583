"""The embedded broker: the Kafka-protocol broker inside librdkafka, in a process of its own, over real TCP.

It lets the whole stack run from Python packages alone. It is for development, demonstrations and tests; it is no
proof of reliability. What it is not:

- Everything is in memory and gone with its process. Its ready file names a random ``log_epoch``: offsets noted under
  another epoch mean nothing.
- Each partition keeps about 5 MB (and at most 100,000 record sets); older records disappear, whatever a topic's
  retention says. A reader whose position is gone must stop (`LogTruncated`), never skip.
- No compaction and no topic settings; a topic that a client names for the first time exists from then on, with 4
  partitions. Exact numbers come from `EmbeddedBroker.create_topic`, over a control port beside the protocol.
- CreateTopics and DescribeConfigs are not answered. No fencing, and transactions are accepted but not real.
- A waiting fetch is not woken by a produce: its latency is the consumer's ``fetch_max_wait_ms``; set it to a few
  milliseconds here.
- No authentication: it listens on loopback alone.

``python -m streams.embedded_broker --ready-file PATH [--parent-pid PID]`` runs it; `EmbeddedBroker` is the handle
that starts and ends such a process.
"""

from streams.embedded_broker.process import EmbeddedBroker

__all__ = ["EmbeddedBroker"]
