"""The real servers without containers: fetched once per user by their package managers, run on loopback.

Each server is a folder or module of its own: what fetches it, and a `Server` that says how it is started and when it is
ready. `infra.launch` decides which of them a profile needs.
"""
