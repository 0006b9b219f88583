"""How the outside asks: HTTP, server-sent events, OpenAI-compatible endpoints, GraphQL, MCP, and the pages.

Imports the SDK alone; `infra.gateway` assembles it by settings and serves it.
"""
