"""Measurements of the budgets, each side by side with its peer: ``python -m bench``."""
