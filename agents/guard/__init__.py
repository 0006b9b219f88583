"""What looks at documents, questions and answers, and what follows from it.

`clear_untrusted` lets a version of an untrusted source into the index once it is scanned, `report_trusted` scans those
of trusted sources, which are visible at once. `apply_decision` does what people decided about either, and
`keep_withdrawn` sees to it that sources do not undo it. Importing this package puts them into
`millrace.agent.CATALOGUE`; the guards of questions and answers are stages of `agents.query`.
"""

from agents.guard.decisions import apply_decision, keep_withdrawn
from agents.guard.document import clear_untrusted, report_trusted

__all__ = ["apply_decision", "clear_untrusted", "keep_withdrawn", "report_trusted"]
