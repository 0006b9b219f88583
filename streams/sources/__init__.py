"""Sources that are read from the log itself: what others write there becomes Millrace's events."""
