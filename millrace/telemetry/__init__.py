"""What a process says of its work: spans of a trace, and metrics. Off unless somebody asks for it.

`tracing` is the seam: two Protocols, filled by `opentelemetry` (which needs the extra ``millrace[telemetry]``) or by
nobody. `names` holds every attribute that a span may carry, `metrics` every metric with its labels.
"""

from millrace.telemetry.tracing import Span, TraceContext, Tracer

__all__ = ["Span", "TraceContext", "Tracer"]
