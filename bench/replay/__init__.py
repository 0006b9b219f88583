"""P10: recorded questions asked again at their watermarks, what that costs, and what live questions notice of it."""
