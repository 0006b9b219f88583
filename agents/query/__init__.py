"""From a question to its one terminal reply: `answer_question`, five agents in one run.

`admit` lets a question in, `retrieve` finds the chunks it may be answered from, `read` quotes their best sentences,
`guard_answer` lets out of them what may be seen, and `answer` ends it. Importing this package puts the run into
`millrace.agent.CATALOGUE`.
"""

from millrace.agent import fuse

from agents.guard.answer import guard_answer
from agents.query.admit import admit
from agents.query.answer import answer, fail_question
from agents.query.read import read
from agents.query.retrieve import retrieve

answer_question = fuse("answer_question", admit, retrieve, read, guard_answer, answer, on_failure=fail_question)

__all__ = ["answer_question"]
