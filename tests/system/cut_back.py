"""The question path from reading on, for a worker of its own: see `tests.system.cut_front`."""

from agents.query import answer_question
from millrace.agent import CATALOGUE
from millrace.cutting import split

del CATALOGUE["answer_question"]
CATALOGUE["read"] = split(answer_question, frozenset({"read"}))[1]
