"""What looks at documents, questions and answers, and what follows from it.

`clear_untrusted` lets a version of an untrusted source into the index once it is scanned, `report_trusted` scans those
of trusted sources, which are visible at once. Importing this package puts both into `millrace.agent.CATALOGUE`; the
guards of questions and answers are stages of `agents.query`.
"""

from agents.guard.document import clear_untrusted, report_trusted

__all__ = ["clear_untrusted", "report_trusted"]
