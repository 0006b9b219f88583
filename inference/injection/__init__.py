"""Looks for orders to a model in texts that came from elsewhere.

In reading order: `scanner` says what is done with one window of a text, `pool` does it in child processes behind the
TextScanner port, `child` is such a process and `process` how the worker sees it, `turns` who goes first, `windows` how
long texts are read, `limits` what a scan may cost.
"""

from inference.injection.limits import ScannerLimits
from inference.injection.pool import ScannerPool

__all__ = ["ScannerLimits", "ScannerPool"]
