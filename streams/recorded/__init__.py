"""Questions as the log recorded them, and the corpus as it was: what a replay of questions reads.

Everything is read by assignment; no group is joined, nothing is committed and nothing is written but a file of its own.
"""
