"""An agent outside Millrace's repository: support tickets in, urgent ones out."""
