"""Whether drift is noticed soon after traffic changes, and never before: ``python -m bench.drift``."""
