"""How models are prepared, served and called."""
