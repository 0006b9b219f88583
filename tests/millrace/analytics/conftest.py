"""The embedded broker with the catalogue's topics."""

from tests.millrace.conftest import _catalogue, embedded, run, tenant

__all__ = ["_catalogue", "embedded", "run", "tenant"]
