"""``python -m millrace``: the command line."""

import sys

from millrace.cli import main

sys.exit(main())
