"""The question path up to retrieval, for a worker of its own: see `tests.system.cut_back`."""

from agents.query import answer_question
from millrace.agent import CATALOGUE
from millrace.cutting import split

CATALOGUE["answer_question"] = split(answer_question, frozenset({"read"}))[0]
