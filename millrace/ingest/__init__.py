"""Ingest: from files to changes on the log, with versions that the log itself knows."""
