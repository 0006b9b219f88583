"""Retrieval, reading and refusal of the shipped configuration beside a plain reference: ``python -m bench.quality``."""
