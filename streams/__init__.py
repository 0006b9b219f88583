"""How events move: runners, the pump, dead letters, brokers, topic administration, stores and sources."""
