"""From a changed document to a visible version in the index."""
