"""How Millrace is assembled and run: settings, launcher, worker entry point, real servers."""
