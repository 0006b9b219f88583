"""The OpenAI-compatible interface: an existing OpenAI client works by changing its base URL and its key."""
