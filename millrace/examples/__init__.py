"""Examples to learn from and to evaluate with, as the loop curated them.

In reading order: `content` is what an example's object holds, `signatures` tells near-duplicates apart, `curated` folds
the log into the examples that count, `questions` makes a file for `millrace eval` of them, `checks` looks for what
should not be trained on.
"""
