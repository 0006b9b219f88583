"""Start, describe and end a stack on one machine: broker, topics, workers."""
