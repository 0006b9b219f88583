"""What is measured side by side: each contender moves the same records in a process of its own."""
