"""Looks for orders to a model in texts that came from elsewhere.

In reading order: `scanner` says what is done with one window of a text. `normalise` makes it plain, `decoding` decodes what
is encoded in it, `hidden` sees what nobody sees. `phrases` are our own rules, `ruleset` searches for them and for those of
the ATR set but for the `noisy` ones. `asking` gives points to `sentences` that ask for something, with `words` (and
`words_abroad`) and `code`; `obscenity` is apart. `quick` is the fast subset.

`pool` does all of it in child processes behind the TextScanner port: `child` is such a process and `process` how the worker
sees it, `frames` what passes between them, `turns` who goes first, `windows` how long texts are read, `limits` what a scan
may cost.
"""

from inference.injection.limits import ScannerLimits
from inference.injection.pool import ScannerPool

__all__ = ["ScannerLimits", "ScannerPool"]
