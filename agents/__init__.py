"""What Millrace decides: plain functions from events to events.

In reading order: `ports` says what agents may ask of the outside. `corpus` turns a changed document into an indexed
version: `corpus.featurize`, then `corpus.index`, with `corpus.statistics` beside them. `query` turns a question into an
answer: `query.admit`, `query.retrieve`, `query.read`, `query.answer`. `lexical` and `usage` serve both.
"""
