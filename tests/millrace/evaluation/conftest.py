"""The embedded broker with the catalogue's topics."""

from tests.millrace.conftest import _catalogue, embedded, tenant

__all__ = ["_catalogue", "embedded", "tenant"]
