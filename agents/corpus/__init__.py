"""From a changed document to a visible version: `featurize`, `index`, and the upkeep of term statistics.

Importing this package puts the agents into `millrace.agent.CATALOGUE`.
"""

from agents.corpus.featurize import featurize
from agents.corpus.index import index
from agents.corpus.statistics import measure_statistics

__all__ = ["featurize", "index", "measure_statistics"]
