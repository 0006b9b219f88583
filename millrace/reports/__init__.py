"""What all reports share: one HTML file that needs nothing else, and the look of its plots."""
