"""Every name that a span may carry: those of OpenTelemetry's conventions, and our own below ``millrace.``.

None of them holds a text, a question, a document's id or a person: a trace leads to the log, which knows them.
"""

from typing import Final

# Generative AI
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_MODEL: Final = "gen_ai.request.model"
GEN_AI_DIMENSIONS: Final = "gen_ai.embeddings.dimension.count"
GEN_AI_AGENT: Final = "gen_ai.agent.name"

# Messaging
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION: Final = "messaging.destination.name"
MESSAGING_PARTITION: Final = "messaging.destination.partition.id"
MESSAGING_OFFSET: Final = "messaging.kafka.offset"
MESSAGING_BATCH: Final = "messaging.batch.message_count"
MESSAGING_ID: Final = "messaging.message.id"
MESSAGING_CONVERSATION: Final = "messaging.message.conversation_id"

# Databases
DB_SYSTEM: Final = "db.system.name"
DB_OPERATION: Final = "db.operation.name"
DB_BATCH: Final = "db.operation.batch.size"
DB_ROWS: Final = "db.response.returned_rows"

ERROR_TYPE: Final = "error.type"
EXCEPTION: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"

# Millrace
TENANT: Final = "millrace.tenant"
EVENT_TYPE: Final = "millrace.event.type"
ATTEMPT: Final = "millrace.attempt"
WAITED_MS: Final = "millrace.waited_ms"
STAGE: Final = "millrace.stage"
OUTPUTS: Final = "millrace.outputs"
FRAMES: Final = "millrace.frames"
TEXTS: Final = "millrace.texts"
BYTES: Final = "millrace.bytes"
MEDIA_TYPE: Final = "millrace.media_type"
MODE: Final = "millrace.mode"
STATUS: Final = "millrace.status"
VERSION: Final = "millrace.version"

FIRST_OUTPUT: Final = "millrace.first_output"
"""Event of a stage that streams."""
FIRST_FRAME: Final = "millrace.first_frame"
"""Event of a question, at its asker."""

ATTRIBUTES: Final = frozenset(
    value
    for name, value in globals().items()
    if name.isupper() and isinstance(value, str) and name not in {"EXCEPTION", "FIRST_OUTPUT", "FIRST_FRAME"}
)
"""Names of attributes."""

EVENTS: Final = frozenset({EXCEPTION, FIRST_OUTPUT, FIRST_FRAME})
"""Names of events within a span."""
