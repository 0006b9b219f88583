"""One program for each peer, as its documentation would have it written; throughput and faults run the same ones.

They run in the peer's own environment and import nothing of Millrace but this package, except Millrace's own program.
"""
