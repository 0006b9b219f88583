"""What Millrace decides: plain functions from events to events."""
