"""From a question to its one terminal reply."""
